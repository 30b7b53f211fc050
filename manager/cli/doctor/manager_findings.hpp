#pragma once

#include <cli/doctor/finding.hpp>
#include <cli/manager_options.hpp>

namespace sublet::cli {

/// Whether the resource manager that clients would ask answers, how full it is, and how far clocks
/// are apart. Asks it: waits as long as `target` says. `named`: somebody has said where it is.
[[nodiscard]] Findings manager_findings(const Result<ManagerTarget>& target, bool named);

}  // namespace sublet::cli
