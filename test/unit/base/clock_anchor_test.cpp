#include <base/clock_anchor.hpp>

#include <gtest/gtest.h>

#include <chrono>

namespace sublet::base {
namespace {

double monotonic_us() {
  return std::chrono::duration<double, std::micro>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

TEST(ClockAnchor, LiesBetweenReadingsOfBothClocks) {
  const double before_us = monotonic_us();
  const Ticks before = ticks();
  const ClockAnchor anchor = ClockAnchor::take();
  EXPECT_LE(before, anchor.tick);
  EXPECT_LE(anchor.tick, ticks());
  EXPECT_LE(before_us, anchor.us);
  EXPECT_LE(anchor.us, monotonic_us());
  EXPECT_GT(anchor.error_us, 0);
}

TEST(ClockAlignment, MeetsBothAnchorsWhateverTheRateIsTakenFor) {
  // An hour on a counter that is 100 ppm faster than was measured.
  const double ticks_per_us = TickRate::get().ticks_per_ns() * 1000 * 1.0001;
  const ClockAnchor since{1'000'000, 5e6, 0.1};
  const ClockAnchor until{since.tick + static_cast<Ticks>(3.6e9 * ticks_per_us), 5e6 + 3.6e9, 0.2};
  const ClockAlignment aligned(since, until);
  EXPECT_NEAR(aligned.us(since.tick), since.us, 0.01);
  EXPECT_NEAR(aligned.us(until.tick), until.us, 0.01);
  EXPECT_NEAR(aligned.us(since.tick + (until.tick - since.tick) / 2), 5e6 + 1.8e9, 0.01);
  EXPECT_EQ(aligned.error_us(), 0.2);
}

TEST(ClockAlignment, TakesTheMeasuredRateOverAShortTime) {
  const ClockAnchor since{1000, 100, 5};
  const ClockAnchor until{2000, 90, 5};  // no time has passed that is more than the errors
  const ClockAlignment aligned(since, until);
  EXPECT_LT(aligned.us(since.tick), until.us);
}

}  // namespace
}  // namespace sublet::base
