#include <client/lease_events.hpp>

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace sublet::client {
namespace {

using namespace std::chrono_literals;

class LeaseEventsTest : public testing::Test {
 protected:
  void hear() {
    events_.set_on_ending([this](const EndingNotice& notice) { endings_.push_back(notice); });
    events_.set_on_lost([this](const std::string& reason) { losses_.push_back(reason); });
  }

  LeaseEvents events_;
  std::vector<EndingNotice> endings_;
  std::vector<std::string> losses_;
};

TEST_F(LeaseEventsTest, TellsWhatComes) {
  hear();
  events_.ending({1min, "the lease expires"});
  events_.lost("the lease expired");
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_EQ(endings_[0].left, 1min);
  EXPECT_EQ(losses_, std::vector<std::string>{"the lease expired"});
}

TEST_F(LeaseEventsTest, GoesOnWhenACallbackThrows) {
  events_.set_on_ending([](const EndingNotice&) { throw std::runtime_error("of the callback"); });
  events_.set_on_lost([](const std::string&) { throw 1; });
  ::testing::internal::CaptureStderr();
  EXPECT_NO_THROW(events_.ending({1min, "the lease expires"}));
  EXPECT_NO_THROW(events_.lost("the lease expired"));
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("the callback on_ending threw: of the callback"), std::string::npos) << said;
  EXPECT_NE(said.find("the callback on_lost threw"), std::string::npos) << said;
}

TEST_F(LeaseEventsTest, TellsAtOnceWhatCameBefore) {
  events_.ending({1min, "the lease expires"});
  events_.lost("the lease expired");
  hear();
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_EQ(endings_[0].reason, "the lease expires");
  EXPECT_LE(endings_[0].left, 1min);
  EXPECT_EQ(losses_, std::vector<std::string>{"the lease expired"});
  hear();
  EXPECT_EQ(endings_.size(), 1u) << "once";
  EXPECT_EQ(losses_.size(), 1u) << "once";
}

TEST_F(LeaseEventsTest, DoesNotTellOfAnEndThatHasBeenPutOff) {
  events_.ending({1min, "the lease expires"});
  events_.extended();
  hear();
  EXPECT_TRUE(endings_.empty());
}

TEST_F(LeaseEventsTest, TellsOfANodeThatLeavesThoughTheLeaseHasMoreTime) {
  events_.ending({1min, "the node is being given back", true});
  events_.extended();
  hear();
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_TRUE(endings_[0].leaving);
}

TEST_F(LeaseEventsTest, DoesNotTellOfAnEndThatHasPassed) {
  events_.ending({0ms, "the lease expires"});
  hear();
  EXPECT_TRUE(endings_.empty());
}

}  // namespace
}  // namespace sublet::client
