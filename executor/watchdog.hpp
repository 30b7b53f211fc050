#pragma once

#include <executor/worker_state.hpp>

#include <chrono>
#include <span>

namespace sublet::executor {

/// How often the watchdog looks, for functions whose shortest timeout is `shortest`: an overrun is
/// seen at most an eighth late, and no faster than a timer is worth. Zero: never, nothing has a
/// timeout.
[[nodiscard]] std::chrono::milliseconds watchdog_period(
    std::chrono::milliseconds shortest) noexcept;

/// Ends the process if a watched call has run past its function's timeout. Called by the main
/// thread; see WorkerState for the race with a call that ends just now.
void end_overrun_calls(std::span<WorkerState> workers, base::Ticks now) noexcept;

}  // namespace sublet::executor
