#include <executor/fatal.hpp>
#include <executor/watchdog.hpp>

#include <algorithm>

namespace sublet::executor {

using namespace std::chrono_literals;

namespace {

/// Counts against the lease's memory; enough for a report, and for the thread-local data of
/// libraries.
constexpr std::size_t kStandInStack = std::size_t{256} << 10;

/// A look that comes later than this was kept from looking by more than a busy core.
base::Ticks shortest_stop() noexcept {
  return base::TickRate::get().from(100ms);
}

}  // namespace

std::chrono::milliseconds watchdog_period(std::chrono::milliseconds shortest) noexcept {
  if (shortest <= 0ms) return 0ms;
  return std::clamp<std::chrono::milliseconds>(shortest / 8, 1ms, 100ms);
}

void Watchdog::look(base::Ticks now, base::Ticks period) noexcept {
  const base::Ticks gap = looked_at_ == 0 || now < looked_at_ ? 0 : now - looked_at_;
  looked_at_ = now;
  const base::Ticks stopped = gap > period + shortest_stop() ? gap - period : 0;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    WorkerState& worker = workers_[i];
    std::uint64_t call = worker.watch.load(std::memory_order_acquire);
    if (call < WorkerState::kFirstCall) continue;
    const base::Ticks started = worker.started.load(std::memory_order_acquire);
    const FunctionEntry* function = worker.running.load(std::memory_order_acquire);
    if (function == nullptr || now < started) continue;
    Excuse& excuse = excused_[i];
    if (excuse.call != call) excuse = {call, 0};
    excuse.ticks += std::min(stopped, now - started);
    if (now - started < function->timeout + excuse.ticks) continue;
    // What was read may be of a later call than `call`; then the exchange, which the loads' acquire
    // keeps behind them, fails: a number is never used again.
    if (worker.watch.compare_exchange_strong(call, WorkerState::kTakenByWatchdog,
                                             std::memory_order_acq_rel)) {
      die_by_timeout(worker, *function);
    }
  }
}

StandInWatchdog::StandInWatchdog(Watchdog& watchdog, std::chrono::milliseconds period)
    : watchdog_(watchdog), period_(period) {
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
    watchdog_.look(base::ticks(), base::TickRate::get().from(period_));
  }
}

}  // namespace sublet::executor
