#pragma once

#include <cli/doctor/finding.hpp>

namespace sublet::cli {

/// The run-time directory, in which managers and clients of this user meet.
[[nodiscard]] Findings directory_findings();

}  // namespace sublet::cli
