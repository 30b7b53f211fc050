#pragma once

// How long functions run, counted in buckets of times. Four buckets to a power of two: a quantile
// read from them is off by at most 25 %. A bucket includes the time it ends with and not the one it
// begins with, as Prometheus's do.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace sublet::wire {

inline constexpr std::size_t kCallTimeBuckets = 128;
inline constexpr unsigned kShortestCallBits = 4;  ///< Up to 16 ns is one bucket.
inline constexpr std::size_t kBucketsPerOctave = 4;

/// HOT PATH. The bucket of a call that has run for `ns`; the last one has all that are longer.
[[nodiscard]] constexpr std::size_t call_time_bucket(std::uint64_t ns) noexcept {
  const std::uint64_t below = ns - (ns != 0 ? 1u : 0u);
  if (below >> kShortestCallBits == 0) return 0;
  const auto octave = static_cast<unsigned>(std::bit_width(below)) - 1;
  const std::size_t quarter = (below >> (octave - 2)) & (kBucketsPerOctave - 1);
  const std::size_t bucket = 1 + (octave - kShortestCallBits) * kBucketsPerOctave + quarter;
  return bucket < kCallTimeBuckets ? bucket : kCallTimeBuckets - 1;
}

/// What times in `bucket` are longer than, ns. For kCallTimeBuckets: where the last one would end.
[[nodiscard]] constexpr std::uint64_t call_time_floor(std::size_t bucket) noexcept {
  if (bucket == 0) return 0;
  const std::size_t octave = (bucket - 1) / kBucketsPerOctave;
  const std::uint64_t quarters = kBucketsPerOctave + (bucket - 1) % kBucketsPerOctave;
  return (quarters << (kShortestCallBits - 2)) << octave;
}

static_assert(call_time_bucket(16) == 0 && call_time_bucket(17) == 1 && call_time_floor(1) == 16);
static_assert(call_time_bucket(~std::uint64_t{0}) == kCallTimeBuckets - 1);

/// Calls by how long they have run. A plain value; sums stop at the largest number.
struct CallTimes {
  std::array<std::uint64_t, kCallTimeBuckets> calls{};  ///< By bucket.
  std::uint64_t total_ns = 0;                           ///< Of all these calls.

  bool operator==(const CallTimes&) const = default;

  static void add(std::uint64_t& to, std::uint64_t more) noexcept {
    to += std::min(more, std::numeric_limits<std::uint64_t>::max() - to);
  }
  CallTimes& operator+=(const CallTimes& other) noexcept {
    for (std::size_t i = 0; i < calls.size(); ++i) add(calls[i], other.calls[i]);
    add(total_ns, other.total_ns);
    return *this;
  }
  /// What has come since `before`; nothing where there is less than then.
  [[nodiscard]] CallTimes since(const CallTimes& before) const noexcept {
    CallTimes more;
    for (std::size_t i = 0; i < calls.size(); ++i) {
      more.calls[i] = calls[i] - std::min(calls[i], before.calls[i]);
    }
    more.total_ns = total_ns - std::min(total_ns, before.total_ns);
    return more;
  }
  [[nodiscard]] std::uint64_t count() const noexcept {
    std::uint64_t sum = 0;
    for (const std::uint64_t in_bucket : calls) add(sum, in_bucket);
    return sum;
  }
  /// The time, ns, that a part `q` of the calls, 0 to 1, has not exceeded, as if those of a bucket
  /// were spread evenly over it; 0 when there are none.
  [[nodiscard]] double quantile_ns(double q) const noexcept {
    double rank = q * static_cast<double>(count());
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const auto here = static_cast<double>(calls[i]);
      if (here > 0 && rank <= here) {
        const auto low = static_cast<double>(call_time_floor(i));
        return low + (static_cast<double>(call_time_floor(i + 1)) - low) * rank / here;
      }
      rank -= here;
    }
    return 0;
  }
};

}  // namespace sublet::wire
