#include <bench/statistics.hpp>
#include <gtest/gtest.h>

namespace sublet::bench {
namespace {

BatchPair pair_of(double ours, double baseline, double before, double between, double after) {
  return {ours, baseline, before, between, after};
}

TEST(Percentile, IsTheNearestRankOfUnsortedSamples) {
  const std::vector<double> samples{5, 1, 4, 2, 3, 10, 9, 8, 7, 6};
  EXPECT_EQ(percentile(samples, 0.5), 5);
  EXPECT_EQ(percentile(samples, 0.95), 10);
  EXPECT_EQ(percentile(samples, 0.1), 1);
  EXPECT_EQ(percentile(samples, 0.11), 2);
  EXPECT_EQ(percentile(samples, 1), 10);
  EXPECT_EQ(percentile(samples, 0), 1);
}

TEST(Percentile, OfOneSampleIsThatSample) {
  const Spread spread = spread_of({7});
  EXPECT_EQ(spread.p50, 7);
  EXPECT_EQ(spread.p99, 7);
}

TEST(Percentile, IsZeroWithoutSamples) {
  EXPECT_EQ(percentile({}, 0.5), 0);
}

TEST(Median, IsTheMeanOfTheMiddleTwoForAnEvenCount) {
  EXPECT_EQ(median({4, 1, 3, 2}), 2.5);
  EXPECT_EQ(median({4, 1, 3}), 3);
}

TEST(PairSummary, IsTheMedianOfRatiosNotTheRatioOfMedians) {
  const auto summary = summarise(
      {pair_of(1, 1, 50, 50, 50), pair_of(10, 5, 50, 50, 50), pair_of(900, 300, 50, 50, 50)});
  EXPECT_EQ(summary.ratio, 2);
  EXPECT_EQ(summary.pairs, 3u);
  EXPECT_EQ(summary.dropped, 0u);
  EXPECT_FALSE(summary.unsteady);
}

TEST(PairSummary, DropsAPairInWhichTheLineMovedByMoreThanHalf) {
  const auto summary = summarise({pair_of(1, 1, 50, 60, 75), pair_of(9, 1, 50, 50, 76),
                                  pair_of(9, 1, 330, 50, 50), pair_of(9, 1, 50, 330, 50)});
  EXPECT_EQ(summary.ratio, 1);
  EXPECT_EQ(summary.dropped, 3u);
  EXPECT_EQ(summary.line_ns, 60);
}

TEST(PairSummary, CountsAllPairsAndSaysSoWhenNoneWasSteady) {
  const auto summary = summarise({pair_of(3, 1, 50, 330, 50)});
  EXPECT_EQ(summary.ratio, 3);
  EXPECT_EQ(summary.dropped, 1u);
  EXPECT_TRUE(summary.unsteady);
}

TEST(PairSummary, DropsNothingWhenTheLineWasNotMeasured) {
  const auto summary = summarise({pair_of(6, 2, 0, 0, 0)});
  EXPECT_EQ(summary.ratio, 3);
  EXPECT_EQ(summary.dropped, 0u);
}

}  // namespace
}  // namespace sublet::bench
