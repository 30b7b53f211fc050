#include <executor/fatal.hpp>
#include <executor/watchdog.hpp>

#include <algorithm>

namespace sublet::executor {

using namespace std::chrono_literals;

namespace {

/// Counts against the lease's memory; enough for a report, and for the thread-local data of
/// libraries.
constexpr std::size_t kStandInStack = std::size_t{256} << 10;

}  // namespace

std::chrono::milliseconds watchdog_period(std::chrono::milliseconds shortest) noexcept {
  if (shortest <= 0ms) return 0ms;
  return std::clamp<std::chrono::milliseconds>(shortest / 8, 1ms, 100ms);
}

void end_overrun_calls(std::span<WorkerState> workers, base::Ticks now) noexcept {
  for (WorkerState& worker : workers) {
    std::uint64_t call = worker.watch.load(std::memory_order_acquire);
    if (call < WorkerState::kFirstCall) continue;
    const base::Ticks started = worker.started.load(std::memory_order_acquire);
    const FunctionEntry* function = worker.running.load(std::memory_order_acquire);
    if (function == nullptr || now < started || now - started < function->timeout) continue;
    // What was read may be of a later call than `call`; then the exchange, which the loads' acquire
    // keeps behind them, fails: a number is never used again.
    if (worker.watch.compare_exchange_strong(call, WorkerState::kTakenByWatchdog,
                                             std::memory_order_acq_rel)) {
      die_by_timeout(worker, *function);
    }
  }
}

StandInWatchdog::StandInWatchdog(std::span<WorkerState> workers, std::chrono::milliseconds period)
    : workers_(workers), period_(period) {
  if (period == 0ms) return;
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, kStandInStack);
  const auto main = [](void* self) -> void* {
    static_cast<StandInWatchdog*>(self)->run();
    return nullptr;
  };
  running_ = ::pthread_create(&thread_, &attributes, main, this) == 0;
  ::pthread_attr_destroy(&attributes);
}

StandInWatchdog::~StandInWatchdog() {
  if (!running_) return;
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  over_changed_.notify_one();
  ::pthread_join(thread_, nullptr);
}

void StandInWatchdog::run() {
  std::unique_lock lock(mutex_);
  while (!over_changed_.wait_for(lock, period_, [this] { return over_; })) {
    end_overrun_calls(workers_, base::ticks());
  }
}

}  // namespace sublet::executor
