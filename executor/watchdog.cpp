#include <executor/fatal.hpp>
#include <executor/watchdog.hpp>

#include <algorithm>

namespace sublet::executor {

using namespace std::chrono_literals;

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

}  // namespace sublet::executor
