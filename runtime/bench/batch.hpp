#pragma once

// How latencies are sampled, ours and the raw ones alike.
//
// A sample is the mean of `calls_per_sample` calls between two looks at the clock, which cost 20 to
// 40 ns: so many that they do not count. Samples are taken in batches of a few milliseconds, short
// enough that a pair of batches meets the same machine.

#include <base/clock.hpp>
#include <sublet/result.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sublet::bench {

using namespace std::chrono_literals;

/// The longest a batch goes on taking samples.
inline constexpr auto kBatchTime = 5ms;

/// Calls at the start of each batch that are not timed: the first wakes the worker, the others
/// bring code and data back into the caches that the other exchange has used.
inline constexpr std::uint64_t kBatchWarmup = 32;

struct BatchPlan {
  std::uint32_t calls_per_sample = 1;
  std::uint64_t max_samples = 0;  ///< At least 1.
  std::uint64_t warmup_calls = kBatchWarmup;
  /// Look at every byte of the first call, before the warm-up.
  bool checked = false;
  /// Let the other end fall asleep before each call; not timed.
  std::chrono::nanoseconds gap{0};
};

inline void spin_for(base::Ticks length) noexcept {
  const base::Ticks start = base::ticks();
  while (base::ticks() - start < length) base::cpu_pause();
}

/// Takes one batch from a side, ours or the raw one: samples in ns per call. begin() gets the other
/// end ready, one() is what is timed, end() puts the other end to sleep so that the other side has
/// its core. checked_one() is as one() and looks at every byte; failure() says why one() was false.
template <class Side>
Result<std::vector<double>> run_batch(Side& side, const BatchPlan& plan) {
  std::vector<double> samples;
  const base::TickRate& rate = base::TickRate::get();
  const base::Ticks gap = rate.from(plan.gap);
  const base::Ticks limit = rate.from(kBatchTime);
  if (auto begun = side.begin(); !begun) return tl::unexpected<Error>(std::move(begun.error()));
  bool ok = !plan.checked || side.checked_one();
  for (std::uint64_t i = 0; ok && i < plan.warmup_calls; ++i) ok = side.one();

  const base::Ticks batch_start = base::ticks();
  while (ok && samples.size() < plan.max_samples) {
    if (gap != 0) spin_for(gap);
    const base::Ticks start = base::ticks();
    for (std::uint32_t i = 0; i < plan.calls_per_sample; ++i) ok = side.one() && ok;
    const base::Ticks end = base::ticks();
    samples.push_back(static_cast<double>(rate.to_ns(end - start)) / plan.calls_per_sample);
    if (end - batch_start > limit) break;
  }
  if (!ok) return tl::unexpected<Error>(side.failure());
  if (auto ended = side.end(); !ended) return tl::unexpected<Error>(std::move(ended.error()));
  return samples;
}

}  // namespace sublet::bench
