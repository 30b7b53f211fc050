#pragma once

#include <cli/doctor/finding.hpp>

namespace sublet::cli {

/// What executors are held by: pidfds, memory cgroups and containers.
[[nodiscard]] Findings process_findings();

}  // namespace sublet::cli
