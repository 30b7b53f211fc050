#include <base/clock.hpp>
#include <transport/contention.hpp>

#include <gtest/gtest.h>

namespace sublet::transport {
namespace {

/// Time is passed in, so nothing here waits.
class ContentionTest : public ::testing::Test {
 protected:
  static base::Ticks in(std::chrono::nanoseconds d) { return base::TickRate::get().from(d); }
  const base::Ticks start_ = in(std::chrono::hours(1));
  Contention contention_;
};

TEST_F(ContentionTest, SeesNoneWhileTheLoopGoesRound) {
  contention_.restart(start_);
  for (base::Ticks now = start_; now < start_ + in(tuning::kContentionMemory);
       now += in(tuning::kDescheduledGap) / 2) {
    ASSERT_FALSE(contention_.observe(now));
  }
}

TEST_F(ContentionTest, SeesAGapAndRemembersItForAWhile) {
  contention_.restart(start_);
  const base::Ticks back = start_ + 2 * in(tuning::kDescheduledGap);
  EXPECT_TRUE(contention_.observe(back));
  const base::Ticks step = in(tuning::kDescheduledGap) / 2;
  base::Ticks now = back;
  while (now + step < back + in(tuning::kContentionMemory)) {
    now += step;
    ASSERT_TRUE(contention_.observe(now));
  }
  EXPECT_FALSE(contention_.observe(now + step));
}

TEST_F(ContentionTest, DoesNotHoldTheTimeBeforeARestartAgainstIt) {
  contention_.restart(start_);
  contention_.restart(start_ + 100 * in(tuning::kDescheduledGap));
  EXPECT_FALSE(contention_.observe(start_ + 100 * in(tuning::kDescheduledGap) + 1));
}

TEST_F(ContentionTest, TakesAStepBackForNoGap) {
  contention_.restart(start_);
  EXPECT_FALSE(contention_.observe(start_ - 100));
  EXPECT_FALSE(contention_.observe(start_));
}

}  // namespace
}  // namespace sublet::transport
