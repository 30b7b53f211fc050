#include <wire/call_times.hpp>

#include <gtest/gtest.h>

namespace sublet::wire {
namespace {

TEST(CallTimes, HasABucketForEachTimeAndEndsWhereTheNextBegins) {
  for (std::size_t bucket = 0; bucket < kCallTimeBuckets; ++bucket) {
    EXPECT_EQ(call_time_bucket(call_time_floor(bucket) + 1), bucket);
    if (bucket + 1 == kCallTimeBuckets) break;
    EXPECT_LT(call_time_floor(bucket), call_time_floor(bucket + 1));
    EXPECT_EQ(call_time_bucket(call_time_floor(bucket + 1)), bucket);
  }
  EXPECT_EQ(call_time_bucket(0), 0u);
  EXPECT_EQ(call_time_bucket(~std::uint64_t{0}), kCallTimeBuckets - 1);
}

TEST(CallTimes, GivesQuantilesWithinABucketOfTheTruth) {
  CallTimes times;
  for (std::uint64_t ns = 1; ns <= 10'000; ++ns) ++times.calls[call_time_bucket(ns)];
  EXPECT_EQ(times.count(), 10'000u);
  for (const double q : {0.01, 0.5, 0.9, 0.99}) {
    EXPECT_NEAR(times.quantile_ns(q), q * 10'000, q * 10'000 * 0.25) << q;
  }
  EXPECT_GE(times.quantile_ns(1), 10'000);
  EXPECT_EQ(CallTimes{}.quantile_ns(0.5), 0);
}

TEST(CallTimes, TellsWhatHasComeAndNothingOfWhatHasShrunk) {
  CallTimes before;
  before.calls[3] = 5;
  before.calls[4] = 5;
  before.total_ns = 100;
  CallTimes now = before;
  now.calls[3] = 7;
  now.calls[4] = 1;
  now.total_ns = 130;
  const CallTimes more = now.since(before);
  EXPECT_EQ(more.calls[3], 2u);
  EXPECT_EQ(more.calls[4], 0u);
  EXPECT_EQ(more.total_ns, 30u);
}

TEST(CallTimes, StopsAtTheLargestNumber) {
  CallTimes many;
  many.calls[0] = ~std::uint64_t{0};
  many.calls[1] = 1;
  many += many;
  EXPECT_EQ(many.calls[0], ~std::uint64_t{0});
  EXPECT_EQ(many.calls[1], 2u);
  EXPECT_EQ(many.count(), ~std::uint64_t{0});
}

}  // namespace
}  // namespace sublet::wire
