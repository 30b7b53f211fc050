#pragma once

#include <cstddef>
#include <vector>

namespace sublet::bench {

/// The smallest sample that at least `share` (0 to 1) of all samples do not exceed (nearest rank).
/// 0 when there are none.
[[nodiscard]] double percentile(const std::vector<double>& samples, double share);

/// The mean of the two middle values for an even count. 0 when there are none.
[[nodiscard]] double median(std::vector<double> values);

/// p50, p95 and p99 of the same samples.
struct Spread {
  double p50 = 0;
  double p95 = 0;
  double p99 = 0;
};
[[nodiscard]] Spread spread_of(std::vector<double> samples);
/// From nanoseconds.
[[nodiscard]] Spread to_us(const Spread& ns);

/// One batch of ours and one of the baseline, taken one right after the other.
struct BatchPair {
  double ours = 0;
  double baseline = 0;
  /// What a bounced cache line took before, between and after the two; all 0 when not measured.
  double line_before = 0;
  double line_between = 0;
  double line_after = 0;
};

/// The bounced line may move by so much within a pair: more, and the host has moved the cores
/// between the two batches, so that their ratio says nothing.
inline constexpr double kSteadyLine = 1.5;

[[nodiscard]] bool steady(const BatchPair& pair);

/// What a series of pairs says.
struct PairSummary {
  double ratio = 0;    ///< Median of ours / baseline over the steady pairs.
  double line_ns = 0;  ///< Median bounced line of the steady pairs.
  std::size_t pairs = 0;
  std::size_t dropped = 0;
  /// No pair was steady: the figures are over all of them, and worth little.
  bool unsteady = false;
};
[[nodiscard]] PairSummary summarise(const std::vector<BatchPair>& pairs);

}  // namespace sublet::bench
