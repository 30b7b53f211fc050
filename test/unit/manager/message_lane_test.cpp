#include <common/message_lane.hpp>

#include <gtest/gtest.h>

#include <vector>

namespace sublet::manager {
namespace {

class MessageLaneTest : public testing::Test {
 public:
  ~MessageLaneTest() noexcept override {}

 protected:
  /// One that has to wait, with all before it served.
  kj::Promise<void> waiting() {
    for (;;) {
      auto next = enter();
      if (!next.poll(scope_)) return next;
    }
  }
  kj::Promise<void> enter() { return lane_.enter(timer_); }
  void pass_a_moment() { timer_.advanceTo(timer_.now() + 1 * kj::MILLISECONDS); }

  kj::EventLoop loop_;
  kj::WaitScope scope_{loop_};
  kj::TimerImpl timer_{kj::origin<kj::TimePoint>()};
  MessageLane lane_;
};

TEST_F(MessageLaneTest, LetsSoManyInAtATimeAndTheOthersInTheirOrder) {
  auto first = waiting();
  std::vector<kj::Promise<void>> more;
  more.reserve(100);
  for (int i = 0; i < 100; ++i) more.push_back(enter());
  EXPECT_FALSE(first.poll(scope_));
  pass_a_moment();
  EXPECT_TRUE(first.poll(scope_));
  EXPECT_FALSE(more.back().poll(scope_));
  for (int i = 0; i < 100; ++i) {
    pass_a_moment();
    scope_.poll();
  }
  EXPECT_TRUE(more.back().poll(scope_));
}

TEST_F(MessageLaneTest, HoldsUpNobodyWhileFewMessagesCome) {
  for (int i = 0; i < 1000; ++i) {
    for (int message = 0; message < 8; ++message) EXPECT_TRUE(enter().poll(scope_));
    pass_a_moment();
    scope_.poll();
  }
}

TEST_F(MessageLaneTest, LetsFewerInWhileSomeHaveToWait) {
  int of_a_few = 0;
  while (enter().poll(scope_)) ++of_a_few;
  std::vector<kj::Promise<void>> crowd;
  crowd.reserve(100);
  for (int i = 0; i < 100; ++i) crowd.push_back(enter());
  pass_a_moment();
  int of_a_crowd = 0;
  for (auto& one : crowd) of_a_crowd += one.poll(scope_) ? 1 : 0;
  EXPECT_GT(of_a_crowd, 0);
  EXPECT_LT(of_a_crowd, of_a_few);
}

TEST_F(MessageLaneTest, HoldsUpNobodyAnyMoreOnceTheCrowdHasGone) {
  {
    std::vector<kj::Promise<void>> crowd;
    crowd.reserve(100);
    for (int i = 0; i < 100; ++i) crowd.push_back(enter());
  }
  for (int i = 0; i < 3; ++i) {
    pass_a_moment();
    scope_.poll();
  }
  EXPECT_TRUE(enter().poll(scope_));
}

TEST_F(MessageLaneTest, ForgetsWhoHasGoneWhileWaiting) {
  std::vector<kj::Promise<void>> gone;
  gone.push_back(waiting());
  for (int i = 0; i < 100; ++i) gone.push_back(enter());
  auto next = enter();
  gone.clear();
  pass_a_moment();
  EXPECT_TRUE(next.poll(scope_));
}

TEST(MessageRate, CallsAConnectionBusyOnceItsBurstIsOverAndNoLongerAfterAPause) {
  MessageRate rate;
  auto now = kj::origin<kj::TimePoint>() + 1 * kj::HOURS;
  int burst = 0;
  while (!rate.is_busy(now)) ++burst;
  EXPECT_GE(burst, 8);
  EXPECT_TRUE(rate.is_busy(now));
  now += 100 * kj::MILLISECONDS;
  EXPECT_FALSE(rate.is_busy(now));
  EXPECT_FALSE(rate.is_busy(now));
  EXPECT_TRUE(rate.is_busy(now)) << "a pause of 0.1 s earns two messages";
  now += 1 * kj::HOURS;
  int later = 0;
  while (!rate.is_busy(now)) ++later;
  EXPECT_EQ(later, burst) << "a long pause earns one burst";
}

}  // namespace
}  // namespace sublet::manager
