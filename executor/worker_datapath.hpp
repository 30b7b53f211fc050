#pragma once

// HOT-PATH BUDGET  Between a channel's poll and its complete: one look at the function table, two
// stores that say which function runs (read by signal handlers), the function, one reading of the
// floating-point control register, one or two readings of the processor's counter. The counters are
// written after the reply. No allocation, lock, system call, log or virtual call; a function with a
// timeout costs one atomic exchange more.
//
// TIME  A call starts when its request is seen: at a stamp taken then, or, when the request is
// there at once after the last reply, when that call ended. So a full window costs one stamp a
// call. A stamp in each spin of the idle loop would save 4 ns of 95 of a lone call, but it lies
// before the request's line has come over: an empty function then seems to run for 50 to 200 ns
// instead of 9.

#include <base/clock.hpp>
#include <base/probes.hpp>
#include <executor/fatal.hpp>
#include <executor/outcome.hpp>
#include <executor/worker_state.hpp>
#include <sublet/function_abi.h>
#include <transport/contention.hpp>
#include <transport/contract.hpp>
#include <transport/tuning.hpp>

#include <cxxabi.h>
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <utility>

namespace sublet::executor {

namespace detail {

/// A counter that only its worker writes and the manager reads at any time.
inline void count(std::uint64_t& counter, std::uint64_t more) noexcept {
  std::atomic_ref<std::uint64_t> value(counter);
  value.store(value.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

inline void run_rfaas(const FunctionEntry& function, void* code,
                      const transport::Invocation& invocation, WorkerState& worker,
                      transport::Completion& completion) {
  if (invocation.in_size > UINT32_MAX) [[unlikely]] {
    completion.status = Status::kInvalid;
    completion.error = describe_long_input(worker, function, invocation.in_size);
    return;
  }
  completion.size = reinterpret_cast<sublet_rfaas_function>(code)(
      const_cast<void*>(invocation.in), static_cast<std::uint32_t>(invocation.in_size),
      invocation.out);
}

inline void run_typed(const FunctionEntry& function, void* code,
                      const transport::Invocation& invocation, WorkerState& worker,
                      transport::Completion& completion) {
  worker.function_text.front() = '\0';
  sublet_call call{invocation.in,
                   invocation.in_size,
                   invocation.out,
                   invocation.out_capacity,
                   0,
                   worker.function_text.data(),
                   worker.function_text.size()};
  const std::int32_t code_returned = reinterpret_cast<sublet_typed_function>(code)(&call);
  completion.size = call.output_size;
  if (code_returned == 0) [[likely]]
    return;
  if (code_returned == SUBLET_OUTPUT_TOO_LARGE) {
    completion.status = Status::kOutputTooLarge;
    completion.error = describe_output(worker, function, call.output_size, invocation.out_capacity);
  } else {
    completion.status = Status::kFunctionError;
    completion.size = 0;
    completion.error = describe_failure(worker, function, code_returned);
  }
}

/// Runs the function; whatever leaves it by a throw ends in `completion`.
[[gnu::always_inline]] inline void run_function(const FunctionEntry& function,
                                                const transport::Invocation& invocation,
                                                WorkerState& worker,
                                                transport::Completion& completion) noexcept {
  void* code = function.code.load(std::memory_order_relaxed);
  try {
    if (function.form == FunctionForm::kRfaas) {
      run_rfaas(function, code, invocation, worker, completion);
    } else {
      run_typed(function, code, invocation, worker, completion);
    }
    if (completion.status == Status::kOk && completion.size > invocation.out_capacity)
        [[unlikely]] {
      completion.status = Status::kOutputTooLarge;
      completion.error =
          describe_output(worker, function, completion.size, invocation.out_capacity);
    }
  } catch (abi::__forced_unwind&) {
    // pthread_exit or a cancellation: this thread must end, and with it the executor.
    die_by_thread_end(worker);
  } catch (...) {
    completion.status = Status::kException;
    completion.size = 0;
    completion.error = describe_exception(worker, function);
  }
}

}  // namespace detail

/// Whether a worker counts how long its calls run. Always; `sublet bench observe` runs it without
/// to measure what that costs.
enum class CallTimesKept : bool { kNo, kYes };

/// Serves one channel on the calling thread. Owner: the worker's thread, which keeps the channel
/// alive until serve() has returned.
template <transport::ServerChannel Channel, CallTimesKept kTimes = CallTimesKept::kYes>
class WorkerLoop {
 public:
  WorkerLoop(Channel& channel, WorkerState& worker) noexcept : channel_(channel), worker_(worker) {
    worker_.sequence.store(0, std::memory_order_relaxed);  // of this channel
    worker_.dying.store(&end_dying, std::memory_order_relaxed);
    worker_.channel.store(&channel_, std::memory_order_release);
  }
  ~WorkerLoop() {
    worker_.dying.store(nullptr, std::memory_order_relaxed);
    worker_.channel.store(nullptr, std::memory_order_release);
  }
  WorkerLoop(const WorkerLoop&) = delete;
  WorkerLoop& operator=(const WorkerLoop&) = delete;

  /// Until the channel is no longer open.
  void serve() noexcept {
    // An earlier client's output is none of this one's business.
    std::memset(worker_.scratch, 0, transport::kInlineBytes);
    transport::Invocation invocation;
    base::Ticks now = base::ticks();
    // Hot from the first call on: until then the client opens its functions, which another thread
    // of this process loads, perhaps on this core.
    if (channel_.is_open() && (channel_.poll(invocation) || sleep(invocation, now))) {
      now = run(invocation, now);
    }
    while (channel_.is_open()) {
      if (channel_.poll(invocation) || wait(invocation, now)) {
        now = run(invocation, now);
      }
    }
  }

 private:
  static void end_dying(void* channel, std::uint32_t sequence, Status status,
                        std::string_view error) noexcept {
    static_cast<Channel*>(channel)->complete_dying(sequence, status, error);
  }

  /// One invocation, from just after its poll. Returns when its function ended.
  [[gnu::always_inline]] base::Ticks run(transport::Invocation& invocation,
                                         base::Ticks started) noexcept {
    transport::Completion completion;
    const FunctionEntry* function = worker_.functions->find(invocation.function);
    if (invocation.verdict != Status::kOk || function == nullptr) [[unlikely]] {
      return refuse(invocation);
    }
    if (invocation.out_is_inline) invocation.out = worker_.scratch;
    worker_.enter(*function, invocation.sequence, started);
    SUBLET_PROBE_4(start, function->name, invocation.sequence, invocation.in_size, worker_.index);
    detail::run_function(*function, invocation, worker_, completion);
    worker_.restore_floats();
    const base::Ticks ended = base::ticks();
    if (!worker_.leave(*function)) [[unlikely]]
      wait_for_the_end();
    completion.exec_ns = worker_.rate.to_ns(ended - started);
    completion.started = started;
    completion.ended = ended;
    SUBLET_PROBE_4(end, function->name, invocation.sequence, static_cast<int>(completion.status),
                   completion.exec_ns);
    channel_.complete(invocation, completion);

    if (spun_ != 0) {
      // Where cores are short the request is there when this thread gets its core back: such a gap
      // counts too, or it would never be noticed.
      (void)contention_.observe(started);
    }
    wire::WorkerCounters& counters = *worker_.counters;
    detail::count(counters.invocations, 1);
    detail::count(counters.compute_ticks, ended - started);
    if constexpr (kTimes == CallTimesKept::kYes) {
      detail::count(counters.call_times[wire::call_time_bucket(completion.exec_ns)], 1);
    }
    detail::count(counters.hot_poll_ticks, std::exchange(spun_, 0));
    detail::count(counters.bytes_in, invocation.in_size);
    if (completion.status == Status::kOk) detail::count(counters.bytes_out, completion.size);
    return ended;
  }

  [[gnu::cold, gnu::noinline]] base::Ticks refuse(transport::Invocation invocation) noexcept {
    transport::Completion completion;
    if (invocation.verdict != Status::kOk) {
      completion.status = invocation.verdict;
      completion.error = describe_refusal(worker_, invocation);
    } else {
      completion.status = Status::kUnknownFunction;
      completion.error = describe_unknown(worker_, invocation.function);
    }
    channel_.complete(invocation, completion);
    return base::ticks();
  }

  /// Spins, then sleeps, until a request is there (true) or the channel has ended. `now` is when
  /// the worker fell idle; on return it is when the request was seen.
  bool wait(transport::Invocation& invocation, base::Ticks& now) noexcept {
    if (worker_.hot_ticks == 0) return sleep(invocation, now);
    const base::Ticks idle_since = now;
    base::Ticks counted = now;  // what of the spinning is in the counters already
    contention_.restart(now);
    base::cpu_pause();  // with more calls in flight the client is just writing the next line
    for (std::uint32_t i = 0; i < transport::tuning::kEagerPolls; ++i) {
      base::cpu_poll_gap();
      if (channel_.poll(invocation)) return seen(now, counted);
    }
    for (;;) {
      for (std::uint32_t i = 0; i < transport::tuning::kPollsPerClock; ++i) {
        base::cpu_pause();
        if (channel_.poll(invocation)) return seen(now, counted);
      }
      now = base::ticks();
      detail::count(worker_.counters->hot_poll_ticks, now - counted);
      counted = now;
      if (!channel_.is_open()) return false;
      if (patience_is_over(now, idle_since)) return sleep(invocation, now);
    }
  }

  /// A request was found; what was spun since `counted` is counted after the reply.
  bool seen(base::Ticks& now, base::Ticks counted) noexcept {
    now = base::ticks();
    spun_ = now - counted;
    return true;
  }

  /// Every few spins: time to sleep instead?
  bool patience_is_over(base::Ticks now, base::Ticks idle_since) noexcept {
    if (now - idle_since >= worker_.hot_ticks) return true;
    if (!contention_.observe(now)) return false;
    ::sched_yield();
    return now - idle_since >= contended_ticks_;
  }

  bool sleep(transport::Invocation& invocation, base::Ticks& now) noexcept {
    while (channel_.is_open()) {
      channel_.sleep(transport::tuning::kSleepSlice);
      now = base::ticks();
      if (channel_.poll(invocation)) return true;
    }
    return false;
  }

  Channel& channel_;
  WorkerState& worker_;
  transport::Contention contention_;
  base::Ticks spun_ = 0;
  base::Ticks contended_ticks_ = worker_.rate.from(transport::contended_spin<Channel>());
};

}  // namespace sublet::executor
