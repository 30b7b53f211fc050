#include "statistics.hpp"

#include <algorithm>
#include <cmath>

namespace sublet::bench {
namespace {

double nth_of_sorted(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  const auto index = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
  return sorted[std::min(index, sorted.size() - 1)];
}

}  // namespace

double percentile(const std::vector<double>& samples, double share) {
  std::vector<double> sorted = samples;
  std::sort(sorted.begin(), sorted.end());
  return nth_of_sorted(sorted, share);
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  if (values.size() % 2 == 1) return values[middle];
  return (values[middle - 1] + values[middle]) / 2;
}

Spread spread_of(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return {nth_of_sorted(samples, 0.50), nth_of_sorted(samples, 0.95), nth_of_sorted(samples, 0.99)};
}

Spread to_us(const Spread& ns) {
  return {ns.p50 / 1000, ns.p95 / 1000, ns.p99 / 1000};
}

bool steady(const BatchPair& pair) {
  const auto [low, high] = std::minmax({pair.line_before, pair.line_between, pair.line_after});
  return high <= low * kSteadyLine;
}

PairSummary summarise(const std::vector<BatchPair>& pairs) {
  PairSummary summary;
  summary.pairs = pairs.size();
  for (const BatchPair& pair : pairs) summary.dropped += steady(pair) ? 0 : 1;
  summary.unsteady = !pairs.empty() && summary.dropped == pairs.size();

  std::vector<double> ratios;
  std::vector<double> lines;
  for (const BatchPair& pair : pairs) {
    if (!summary.unsteady && !steady(pair)) continue;
    if (pair.baseline > 0) ratios.push_back(pair.ours / pair.baseline);
    lines.push_back(pair.line_between);
  }
  summary.ratio = median(std::move(ratios));
  summary.line_ns = median(std::move(lines));
  return summary;
}

}  // namespace sublet::bench
