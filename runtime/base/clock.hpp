#pragma once

// Time on the hot path is counted in ticks of the processor's own counter: reading it is neither a
// system call nor a vDSO call. All cores of one node read the same counter.

#include <chrono>
#include <cstdint>
#include <ctime>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace sublet::base {

using Ticks = std::uint64_t;

[[nodiscard]] inline Ticks ticks() noexcept {
#if defined(__x86_64__)
  return __rdtsc();
#elif defined(__aarch64__)
  std::uint64_t value;
  asm volatile("mrs %0, cntvct_el0" : "=r"(value));
  return value;
#else
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<Ticks>(t.tv_sec) * 1'000'000'000u + static_cast<Ticks>(t.tv_nsec);
#endif
}

/// Tells the processor that this is a spin loop.
inline void cpu_pause() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

/// Ends when all earlier loads have: the gap between polls of a spin loop that expects its word at
/// once. Without any gap dozens of polls are under way when the line changes hands, and all of them
/// are thrown away; a pause is long (25 to 50 ns) against a call between cores that share a cache.
inline void cpu_poll_gap() noexcept {
#if defined(__x86_64__)
  _mm_lfence();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

/// Brings the line of `address` here, to be written: nobody else keeps a copy. A hint.
inline void prefetch_for_write(const void* address) noexcept {
#if defined(__x86_64__)
  // Not the builtin: without -mprfchw that would fetch a copy to be read. No processor faults on
  // it.
  asm volatile("prefetchw (%0)" : : "r"(address));
#else
  __builtin_prefetch(address, 1);
#endif
}

/// Converts between ticks and nanoseconds. Measured against CLOCK_MONOTONIC the first time it is
/// asked for (about 2 ms); a zygote passes its measurement on to the executors it forks.
class TickRate {
 public:
  explicit TickRate(double ticks_per_ns) noexcept
      : ticks_per_ns_(ticks_per_ns),
        ns_per_tick_fixed_(fixed(1.0 / ticks_per_ns)),
        ticks_per_ns_fixed_(fixed(ticks_per_ns)) {}

  /// The process's rate. Thread-safe.
  static const TickRate& get();
  /// What another process of this node has measured. Before the first get(), or without effect.
  static void set(double ticks_per_ns);

  [[nodiscard]] double ticks_per_ns() const noexcept { return ticks_per_ns_; }
  /// The conversions saturate: what does not fit becomes the largest value, never a small one.
  [[nodiscard]] std::uint64_t to_ns(Ticks t) const noexcept {
    return multiply(t, ns_per_tick_fixed_);
  }
  [[nodiscard]] Ticks from_ns(std::uint64_t ns) const noexcept {
    return multiply(ns, ticks_per_ns_fixed_);
  }
  /// Zero for a duration that is not positive.
  [[nodiscard]] Ticks from(std::chrono::nanoseconds d) const noexcept {
    return d.count() <= 0 ? 0 : from_ns(static_cast<std::uint64_t>(d.count()));
  }

 private:
  // Integers with 32 binary places: one multiplication where floating point takes three
  // conversions, on the way of every reply. Exact to 1e-9.
  static constexpr unsigned kPlaces = 32;
  __extension__ using Wide = unsigned __int128;

  [[nodiscard]] static std::uint64_t fixed(double value) noexcept {
    return static_cast<std::uint64_t>(value * static_cast<double>(std::uint64_t{1} << kPlaces) +
                                      0.5);
  }
  [[nodiscard]] static std::uint64_t multiply(std::uint64_t value, std::uint64_t by) noexcept {
    constexpr Wide kHalf = Wide{1} << (kPlaces - 1);
    const Wide product = (Wide{value} * by + kHalf) >> kPlaces;
    return (product >> 64) == 0 ? static_cast<std::uint64_t>(product) : ~std::uint64_t{0};
  }

  double ticks_per_ns_;
  std::uint64_t ns_per_tick_fixed_;
  std::uint64_t ticks_per_ns_fixed_;
};

/// A point in tick time after which a wait ends.
class Deadline {
 public:
  /// A duration that reaches beyond the counter's end means none().
  [[nodiscard]] static Deadline after(std::chrono::nanoseconds d) {
    const Ticks wait = TickRate::get().from(d);  // measured first when it never was
    const Ticks now = ticks();
    return Deadline(wait < ~now ? now + wait : ~Ticks{0});
  }
  /// Only for waits that something else bounds, named where it is used.
  [[nodiscard]] static Deadline none() noexcept { return Deadline(~Ticks{0}); }

  /// The one of the two that comes first.
  [[nodiscard]] Deadline or_earlier(Deadline other) const noexcept {
    return other.at_ < at_ ? other : *this;
  }

  [[nodiscard]] bool passed() const noexcept { return ticks() >= at_; }
  [[nodiscard]] bool passed(Ticks now) const noexcept { return now >= at_; }
  /// Zero when passed.
  [[nodiscard]] std::chrono::nanoseconds left() const;

 private:
  explicit Deadline(Ticks at) noexcept : at_(at) {}
  Ticks at_;
};

}  // namespace sublet::base
