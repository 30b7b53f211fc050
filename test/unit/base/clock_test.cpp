#include <base/clock.hpp>

#include <gtest/gtest.h>

#include <limits>

namespace sublet::base {
namespace {

using namespace std::chrono_literals;

std::chrono::nanoseconds monotonic() {
  return std::chrono::steady_clock::now().time_since_epoch();
}

TEST(Ticks, NeverStepBackOnOneThread) {
  Ticks last = ticks();
  for (int i = 0; i < 100'000; ++i) {
    const Ticks now = ticks();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(TickRate, AgreesWithTheSystemsClock) {
  const TickRate& rate = TickRate::get();
  const auto before = monotonic();
  const Ticks start = ticks();
  const auto after = monotonic();
  while (monotonic() - after < 20ms) cpu_pause();
  const auto before_end = monotonic();
  const Ticks end = ticks();
  const auto after_end = monotonic();
  // What was counted lies between the two spans that enclose it and that it encloses, with the
  // rate's own error of 1e-4 and as much again.
  const auto counted = static_cast<double>(rate.to_ns(end - start));
  EXPECT_GT(counted, 0.9998 * static_cast<double>((before_end - after).count()));
  EXPECT_LT(counted, 1.0002 * static_cast<double>((after_end - before).count()));
}

TEST(TickRate, IsMeasuredOnce) {
  EXPECT_EQ(&TickRate::get(), &TickRate::get());
}

TEST(TickRate, ConvertsBothWays) {
  const TickRate rate(2.5);
  EXPECT_EQ(rate.from_ns(1000), 2500u);
  EXPECT_EQ(rate.to_ns(2500), 1000u);
  EXPECT_EQ(rate.from(1us), 2500u);
  EXPECT_EQ(rate.from(0ns), 0u);
  EXPECT_EQ(rate.from(-1ns), 0u);
}

TEST(TickRate, SaturatesWhereTheResultDoesNotFit) {
  const TickRate fast(4.0);
  EXPECT_EQ(fast.from(std::chrono::nanoseconds::max()), ~Ticks{0});
  EXPECT_EQ(fast.from_ns(~std::uint64_t{0}), ~Ticks{0});
  const TickRate slow(0.025);  // a counter of 25 MHz
  EXPECT_EQ(slow.to_ns(~Ticks{0}), ~std::uint64_t{0});
}

TEST(Deadline, PassesAfterItsTime) {
  const Deadline deadline = Deadline::after(1ms);
  EXPECT_GT(deadline.left(), 0ns);
  EXPECT_LE(deadline.left(), 1ms);
  while (!deadline.passed()) cpu_pause();
  EXPECT_EQ(deadline.left(), 0ns);
}

TEST(Deadline, HasPassedWhenItsTimeIsNotPositive) {
  EXPECT_TRUE(Deadline::after(0ns).passed());
  EXPECT_TRUE(Deadline::after(-1h).passed());
}

TEST(Deadline, NeverPassesWhenThereIsNone) {
  EXPECT_FALSE(Deadline::none().passed());
  EXPECT_FALSE(Deadline::none().passed(~Ticks{0} - 1));
  EXPECT_GT(Deadline::none().left(), 24h);
}

TEST(Deadline, LiesAheadHoweverLongTheWait) {
  for (const auto wait : {std::chrono::nanoseconds::max(), std::chrono::nanoseconds::max() / 2,
                          std::chrono::nanoseconds(24h * 365 * 100)}) {
    const Deadline deadline = Deadline::after(wait);
    EXPECT_FALSE(deadline.passed());
    EXPECT_GT(deadline.left(), 24h * 365);
  }
}

}  // namespace
}  // namespace sublet::base
