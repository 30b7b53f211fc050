#pragma once

#include <cli/doctor/finding.hpp>

namespace sublet::cli {

/// The limits of this process (ulimit -l -f -v -d -u -n), which what it starts inherits.
/// `locks_memory`: a transport that can be used here registers memory.
[[nodiscard]] Findings limit_findings(bool locks_memory);

}  // namespace sublet::cli
