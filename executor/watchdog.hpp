#pragma once

#include <executor/worker_state.hpp>

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <span>

namespace sublet::executor {

/// How often the watchdog looks, for functions whose shortest timeout is `shortest`: an overrun is
/// seen at most an eighth late, and no faster than a timer is worth. Zero: never, nothing has a
/// timeout.
[[nodiscard]] std::chrono::milliseconds watchdog_period(
    std::chrono::milliseconds shortest) noexcept;

/// Ends the process if a watched call has run past its function's timeout. Called by one thread at
/// a time; see WorkerState for the race with a call that ends just now.
void end_overrun_calls(std::span<WorkerState> workers, base::Ticks now) noexcept;

/// Looks for overruns in place of the main thread while that is busy with what may take long, such
/// as the constructors of a library. Owner: the main thread, which does not look meanwhile.
class StandInWatchdog {
 public:
  /// With a period of zero there is nothing to do, and no thread. Nor is there one when the system
  /// gives none: then overruns end once the main thread is back.
  StandInWatchdog(std::span<WorkerState> workers, std::chrono::milliseconds period);
  ~StandInWatchdog();
  StandInWatchdog(const StandInWatchdog&) = delete;
  StandInWatchdog& operator=(const StandInWatchdog&) = delete;

 private:
  void run();

  std::span<WorkerState> workers_;
  std::chrono::milliseconds period_;
  std::mutex mutex_;
  std::condition_variable over_changed_;
  bool over_ = false;
  bool running_ = false;
  pthread_t thread_{};
};

}  // namespace sublet::executor
