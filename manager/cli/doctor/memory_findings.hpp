#pragma once

#include <cli/doctor/finding.hpp>

namespace sublet::cli {

/// Huge pages of shared memory, and memory files that can be executed.
[[nodiscard]] Findings memory_findings();

}  // namespace sublet::cli
