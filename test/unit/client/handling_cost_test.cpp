#include <client/handling_cost.hpp>

#include <gtest/gtest.h>

namespace sublet::client {
namespace {

constexpr double kUs = 1e-6;

TEST(HandlingCost, TellsWhatAPartCostsFromWhatAnItemDoes) {
  HandlingCost cost;
  cost.note_handed_out(100, 3 * kUs);
  EXPECT_NEAR(cost.of(1'000'000), 3 * kUs, 1e-12) << "until more is known, all is the part's";
  cost.note_handed_out(200, 4 * kUs);  // 2 us and 10 ns an item
  EXPECT_NEAR(cost.of(1000), 12 * kUs, 1e-12);
  cost.note_taken_back(500, 5 * kUs);  // and 10 ns again
  EXPECT_NEAR(cost.of(1000), 22 * kUs, 1e-12);
}

TEST(HandlingCost, BelievesTheFastestOfEqualParts) {
  HandlingCost cost;
  cost.note_handed_out(100, 90 * kUs);  // a worker was woken
  cost.note_handed_out(100, 3 * kUs);
  cost.note_handed_out(200, 4 * kUs);
  EXPECT_NEAR(cost.of(1000), 12 * kUs, 1e-12);
}

TEST(HandlingCost, JudgesPartsByTheSizeTheyWillHave) {
  HandlingCost cost;
  cost.note_handed_out(1, 3 * kUs);
  EXPECT_TRUE(cost.pays(1000, 1000 * kUs)) << "1 us for an item, 3 us for a thousand";
  EXPECT_EQ(cost.growth(), 2u);
  cost.note_handed_out(2, 3.1 * kUs);
  EXPECT_TRUE(cost.pays(1000, 1000 * kUs));
  EXPECT_EQ(cost.growth(), 4u) << "it is known to pay";
}

TEST(HandlingCost, GivesUpWhenItemsCostMoreThanTheySaveTwiceInARow) {
  HandlingCost cost;
  cost.note_handed_out(10, 20 * kUs);
  EXPECT_TRUE(cost.pays(1000, 1000 * kUs));
  cost.note_handed_out(20, 40 * kUs);  // 2 us an item
  EXPECT_TRUE(cost.pays(1000, 1000 * kUs)) << "that may have been an accident";
  EXPECT_EQ(cost.growth(), 1u);
  cost.note_handed_out(20, 20.5 * kUs);  // so it was
  EXPECT_TRUE(cost.pays(1000, 1000 * kUs));
  cost.note_handed_out(20, 40 * kUs);
  EXPECT_TRUE(cost.pays(1000, 1000 * kUs));
  cost.note_handed_out(20, 41 * kUs);
  EXPECT_FALSE(cost.pays(1000, 1000 * kUs));
}

TEST(HandlingCost, GivesUpAtOnceWhenItIsFarTooMuch) {
  HandlingCost cost;
  cost.note_handed_out(1, 2000 * kUs);
  EXPECT_FALSE(cost.pays(1000, 100 * kUs));
}

}  // namespace
}  // namespace sublet::client
