#pragma once

namespace sublet::base {

/// The node has little memory left: some process has waited for memory for more than 10 % of the
/// last ten seconds (PSI), or less than 5 % of it is available. Reads two files of /proc.
[[nodiscard]] bool memory_is_short();

}  // namespace sublet::base
