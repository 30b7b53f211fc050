#pragma once

// Core files of executors that crash, where the manager asks for them. They hold a client's data,
// so by default there are none.

#include <string_view>

namespace sublet::executor {

/// In a fresh executor that has its user's identity: leaves core files in `directory`, as large as
/// the manager's hard limit (ulimit -Hc) lets them be. Empty: none, whatever is asked for later.
void choose_core_directory(std::string_view directory) noexcept;

/// Ends the process by the signal `number`, which a handler has caught, with a core file; returns
/// when there is to be none. The kernel writes it (/proc/sys/kernel/core_pattern): into the chosen
/// directory where the pattern is not a path. Async-signal-safe.
void end_with_core_file(int number) noexcept;

}  // namespace sublet::executor
