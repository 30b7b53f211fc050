#pragma once

#include <base/clock.hpp>
#include <executor/float_control.hpp>
#include <executor/function_table.hpp>
#include <sublet/status.hpp>
#include <wire/executor_protocol.hpp>

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cfenv>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sublet::executor {

/// Ends a call from a signal handler or from the watchdog: ServerChannel::complete_dying of
/// whatever transport the channel has.
using DyingCall = void (*)(void* channel, std::uint32_t sequence, Status status,
                           std::string_view error) noexcept;

/// What a worker is about, as its own thread, its signal handlers and the watchdog see it.
///
/// The problem: a call must end exactly once for its client, and three may want to end it: the
/// worker (the function returned), a fatal handler on the worker's thread (it crashed) and the
/// watchdog on the main thread (it took too long). The handler runs inside of the function, so it
/// and the worker never both act. The watchdog is kept apart by `watch`: whoever changes it from
/// "running call n" first ends call n, the other one does nothing. Only functions with a timeout
/// pay for it (one exchange).
///
/// Owner: the executor. Written by the worker's thread, unless a comment says otherwise.
struct alignas(128) WorkerState {
  static constexpr std::uint64_t kUnwatched = 0;
  static constexpr std::uint64_t kTakenByWatchdog = 1;
  static constexpr std::uint64_t kFirstCall = 2;

  /// The number of the running call that the watchdog may end, or one of the words above. The
  /// release in begin_watch pairs with the watchdog's acquire: it then sees what belongs to that
  /// call.
  std::atomic<std::uint64_t> watch{kUnwatched};
  std::atomic<base::Ticks> started{0};
  /// Not null while the thread is inside a function.
  std::atomic<const FunctionEntry*> running{nullptr};
  std::atomic<std::uint32_t> sequence{0};
  /// The channel being served, and how to end its calls; null in between.
  std::atomic<void*> channel{nullptr};
  std::atomic<DyingCall> dying{nullptr};
  std::uint64_t watched_calls = kFirstCall;

  std::atomic<pid_t> thread{0};  ///< Its own, once it runs.

  // Set once, before the thread starts.
  const FunctionTable* functions = nullptr;
  wire::WorkerCounters* counters = nullptr;
  base::TickRate rate{1.0};
  base::Ticks hot_ticks = 0;         ///< Idle spinning before the worker sleeps; ~0: for ever.
  std::uint64_t memory_bytes = 0;    ///< The lease's limit, for messages; 0: none.
  std::byte* scratch = nullptr;      ///< Small outputs; a guard page follows.
  const std::byte* stack = nullptr;  ///< Its low end.
  std::size_t stack_guard = 0;       ///< Bytes below it that cannot be touched.
  std::uint32_t index = 0;

  const std::fenv_t* floats = nullptr;  ///< What is in force on this thread; null: the usual.
  std::uint64_t float_bits = float_control();  ///< Its control bits.

  /// What a function says when it fails, and what is said about it.
  std::array<char, wire::kMaxText> function_text{};
  std::array<char, wire::kMaxText> error_text{};

  void enter(const FunctionEntry& function, std::uint32_t call, base::Ticks now) noexcept {
    if (function.floats != floats) [[unlikely]]
      set_floats(function.floats);
    sequence.store(call, std::memory_order_relaxed);
    running.store(&function, std::memory_order_relaxed);
    if (function.timeout != 0) {
      started.store(now, std::memory_order_relaxed);
      watch.store(++watched_calls, std::memory_order_release);
    }
  }

  /// False when the call is not this thread's to end: touch nothing. The watchdog has ended it and
  /// the process is about to end, or this is a child that the function has forked.
  [[nodiscard]] bool leave(const FunctionEntry& function) noexcept {
    const bool ours = running.load(std::memory_order_relaxed) == &function;
    running.store(nullptr, std::memory_order_relaxed);
    return ours && (function.timeout == 0 || take_back());
  }

  /// In a child that the running function has forked: the call is its parent's.
  void disown() noexcept { running.store(nullptr, std::memory_order_relaxed); }

  [[nodiscard]] bool in_stack_guard(const void* address) const noexcept {
    const auto low = reinterpret_cast<std::uintptr_t>(stack);
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    return at < low && low - at <= stack_guard;
  }

  void set_floats(const std::fenv_t* wanted) noexcept {
    floats = wanted;
    std::fesetenv(floats != nullptr ? floats : FE_DFL_ENV);
    float_bits = float_control();
  }

  /// A function that changed how this thread calculates has done so for itself alone.
  void restore_floats() noexcept {
    if (float_control() != float_bits) [[unlikely]]
      set_floats(floats);
  }

  /// The worker's side of the race for the end of a call. Async-signal-safe.
  [[nodiscard]] bool take_back() noexcept {
    return watch.exchange(kUnwatched, std::memory_order_acq_rel) != kTakenByWatchdog;
  }
};

}  // namespace sublet::executor
