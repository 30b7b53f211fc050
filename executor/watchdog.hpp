#pragma once

#include <executor/worker_state.hpp>

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <span>
#include <vector>

namespace sublet::executor {

/// How often the watchdog looks, for functions whose shortest timeout is `shortest`: an overrun is
/// seen at most an eighth late, and no faster than a timer is worth. Zero: never, nothing has a
/// timeout.
[[nodiscard]] std::chrono::milliseconds watchdog_period(
    std::chrono::milliseconds shortest) noexcept;

/// Ends the process if a watched call has run past its function's timeout; see WorkerState for the
/// race with a call that ends just now. Time in which the whole process could not run, because it
/// was stopped (SIGSTOP, a frozen cgroup, a suspended job), is no call's: it shows as a gap between
/// two looks.
///
/// Owner: the main thread. One thread at a time looks.
class Watchdog {
 public:
  explicit Watchdog(std::span<WorkerState> workers) : workers_(workers), excused_(workers.size()) {}

  /// To be called every `period`.
  void look(base::Ticks now, base::Ticks period) noexcept;
  /// There was nothing to look at until now: the next look shows no stop before that.
  void rest(base::Ticks now) noexcept { looked_at_ = now; }

 private:
  /// What of the time since its start does not count for a call.
  struct Excuse {
    std::uint64_t call = WorkerState::kUnwatched;
    base::Ticks ticks = 0;
  };

  std::span<WorkerState> workers_;
  std::vector<Excuse> excused_;
  base::Ticks looked_at_ = 0;
};

/// Looks for overruns in place of the main thread while that is busy with what may take long, such
/// as the constructors of a library. Owner: the main thread, which does not look meanwhile.
class StandInWatchdog {
 public:
  /// With a period of zero there is nothing to do, and no thread. Nor is there one when the system
  /// gives none: then overruns end once the main thread is back.
  StandInWatchdog(Watchdog& watchdog, std::chrono::milliseconds period);
  ~StandInWatchdog();
  StandInWatchdog(const StandInWatchdog&) = delete;
  StandInWatchdog& operator=(const StandInWatchdog&) = delete;

 private:
  void run();

  Watchdog& watchdog_;
  std::chrono::milliseconds period_;
  std::mutex mutex_;
  std::condition_variable over_changed_;
  bool over_ = false;
  bool running_ = false;
  pthread_t thread_{};
};

}  // namespace sublet::executor
