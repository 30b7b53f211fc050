#include "black_scholes/gain.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace black_scholes {
namespace {

bool makes_no_claim(const Gain& gain, std::size_t threads, std::size_t cores) {
  return gain.claim(threads, cores).rfind("no claim", 0) == 0;
}

TEST(Gain, IsTheMedianOfThePairsNotTheRatioOfTheMedians) {
  // The second pair was taken while the machine was ten times as slow.
  const Gain gain = Gain::of(std::vector{2.0, 20.0, 2.2}, std::vector{1.0, 10.0, 1.0});
  EXPECT_EQ(gain.pairs, 3u);
  EXPECT_DOUBLE_EQ(gain.median, 2.0);
  EXPECT_TRUE(gain.is_faster());
  EXPECT_EQ(gain.claim(2, 2), "2.00 times as fast");
  EXPECT_EQ(gain.evidence(),
            "3 pairs of steps: offloading was 2.00 times as fast in the median, 2.00 to 2.20 times "
            "in the middle half");
}

TEST(Gain, IsNotClaimedWithoutACoreForEachThread) {
  const Gain gain = Gain::of(std::vector{3.0, 3.0}, std::vector{1.0, 1.0});
  EXPECT_TRUE(makes_no_claim(gain, 4, 2));
  EXPECT_NE(gain.claim(4, 2).find("4 busy threads share 2 cores"), std::string::npos);
  EXPECT_EQ(gain.claim(4, 2).find("times as fast"), std::string::npos);
  EXPECT_FALSE(makes_no_claim(gain, 4, 4));
}

TEST(Gain, IsNotClaimedWhenThePairsDisagree) {
  const Gain gain = Gain::of(std::vector{0.8, 0.9, 1.1, 1.4, 1.5}, std::vector(5, 1.0));
  EXPECT_FALSE(gain.is_faster());
  EXPECT_FALSE(gain.is_slower());
  EXPECT_TRUE(makes_no_claim(gain, 2, 2)) << gain.claim(2, 2);
}

TEST(Gain, SaysWhenOffloadingIsSlower) {
  const Gain gain = Gain::of(std::vector{0.5, 0.6, 0.7}, std::vector{1.0, 1.0, 1.0});
  EXPECT_TRUE(gain.is_slower());
  EXPECT_EQ(gain.claim(2, 2).rfind("none: slower, 0.60", 0), 0u) << gain.claim(2, 2);
}

TEST(Gain, IsNotClaimedOfNothing) {
  EXPECT_TRUE(makes_no_claim(Gain::of({}, {}), 1, 1));
  EXPECT_TRUE(makes_no_claim(Gain::of(std::vector{1.0}, std::vector{0.0}), 1, 1));
}

}  // namespace
}  // namespace black_scholes
