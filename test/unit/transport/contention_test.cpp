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

TEST_F(ContentionTest, RemembersLongerWhatComesBackAndForgetsInTheEnd) {
  contention_.restart(start_);
  base::Ticks now = start_;
  // Found out again whenever it has just been forgotten.
  for (auto memory = in(tuning::kContentionMemory); memory < in(tuning::kContentionMemoryMax);
       memory *= 2) {
    now += 2 * in(tuning::kDescheduledGap);
    ASSERT_TRUE(contention_.observe(now));
    contention_.restart(now + memory - 2);
    ASSERT_TRUE(contention_.observe(now + memory - 1));
    ASSERT_FALSE(contention_.observe(now + memory + 1));
    now += memory + 1;
  }
  // Never longer than the longest.
  now += 2 * in(tuning::kDescheduledGap);
  ASSERT_TRUE(contention_.observe(now));
  contention_.restart(now + in(tuning::kContentionMemoryMax) + 1);
  ASSERT_FALSE(contention_.observe(now + in(tuning::kContentionMemoryMax) + 2));
  // Long after, it begins from the start.
  now += 10 * in(tuning::kContentionMemoryMax);
  contention_.restart(now);
  now += 2 * in(tuning::kDescheduledGap);
  ASSERT_TRUE(contention_.observe(now));
  contention_.restart(now + in(tuning::kContentionMemory));
  EXPECT_FALSE(contention_.observe(now + in(tuning::kContentionMemory) + 1));
}

TEST_F(ContentionTest, DoesNotHoldTheTimeBeforeARestartAgainstIt) {
  contention_.restart(start_);
  contention_.restart(start_ + 100 * in(tuning::kDescheduledGap));
  EXPECT_FALSE(contention_.observe(start_ + 100 * in(tuning::kDescheduledGap) + 1));
}

TEST_F(ContentionTest, TakesBeingServedAsSoonAsItSleepsForASign) {
  contention_.restart(start_);
  const base::Ticks soon = start_ + in(tuning::kDescheduledGap) / 4;
  contention_.served_asleep(start_, soon);
  contention_.restart(soon);
  EXPECT_TRUE(contention_.observe(soon + 1));
}

TEST_F(ContentionTest, TakesALongSleepForNone) {
  contention_.restart(start_);
  const base::Ticks late = start_ + 2 * in(tuning::kDescheduledGap);
  contention_.served_asleep(start_, late);
  contention_.restart(late);
  EXPECT_FALSE(contention_.observe(late + 1));
}

TEST_F(ContentionTest, ForgetsThoughItSleepsEarlyMeanwhile) {
  // With short cores it hardly spins before it sleeps: that it is served then says nothing.
  contention_.restart(start_);
  base::Ticks now = start_ + 2 * in(tuning::kDescheduledGap);
  ASSERT_TRUE(contention_.observe(now));
  const base::Ticks forgotten = now + in(tuning::kContentionMemory);
  while (now + in(tuning::kDescheduledGap) / 4 < forgotten) {
    contention_.served_asleep(now, now + in(tuning::kDescheduledGap) / 4);
    now += in(tuning::kDescheduledGap) / 4;
    contention_.restart(now);
  }
  contention_.restart(forgotten);
  EXPECT_FALSE(contention_.observe(forgotten + 1));
}

TEST_F(ContentionTest, TakesAStepBackForNoGap) {
  contention_.restart(start_);
  EXPECT_FALSE(contention_.observe(start_ - 100));
  EXPECT_FALSE(contention_.observe(start_));
}

}  // namespace
}  // namespace sublet::transport
