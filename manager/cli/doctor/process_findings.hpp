#pragma once

#include <cli/doctor/finding.hpp>

namespace sublet::cli {

/// What executors are held by: pidfds and memory cgroups.
[[nodiscard]] Findings process_findings();

}  // namespace sublet::cli
