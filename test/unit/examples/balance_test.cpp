#include "black_scholes/balance.hpp"

#include <gtest/gtest.h>

namespace black_scholes {
namespace {

TEST(Balance, KeepsAFixedShareWhateverIsMeasured) {
  Balance balance(0.25, 3);
  balance.observe(1, 1000);
  EXPECT_EQ(balance.share(), 0.25);
}

TEST(Balance, StartsAsIfWorkersAndRankWereEquallyFast) {
  EXPECT_EQ(Balance(std::nullopt, 3).share(), 0.75);
}

TEST(Balance, ApproachesTheShareAtWhichBothSidesFinishTogether) {
  Balance balance(std::nullopt, 1);
  for (int step = 0; step < 20; ++step) balance.observe(100, 300);
  EXPECT_NEAR(balance.share(), 0.75, 1e-6);
}

TEST(Balance, LeavesBothSidesSomethingToMeasure) {
  Balance balance(std::nullopt, 1);
  for (int step = 0; step < 50; ++step) balance.observe(1e9, 1);
  EXPECT_GT(balance.share(), 0);
  for (int step = 0; step < 50; ++step) balance.observe(1, 1e9);
  EXPECT_LT(balance.share(), 1);
}

TEST(Balance, IgnoresAStepInWhichOneSideHadNothingToDo) {
  Balance balance(std::nullopt, 1);
  balance.observe(0, 100);
  balance.observe(100, 0);
  EXPECT_EQ(balance.share(), 0.5);
}

}  // namespace
}  // namespace black_scholes
