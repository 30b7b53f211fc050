// Whether a node is being given back, without any node.

#include <executor_manager/node_drain.hpp>

#include <gtest/gtest.h>
#include <kj/async.h>

#include <string>

namespace sublet::manager {
namespace {

using Origin = NodeDrain::Origin;

class NodeDrainTest : public testing::Test {
 protected:
  NodeDrainTest() : scope_(loop_), drained_(drain_.drained()) {}
  ~NodeDrainTest() noexcept override = default;

  std::string refusal() {
    const auto cancelled = drain_.cancel();
    return cancelled ? "" : cancelled.error().what();
  }

  kj::EventLoop loop_;
  kj::WaitScope scope_;
  NodeDrain drain_;
  kj::Promise<void> drained_;
};

TEST_F(NodeDrainTest, IsTakenBackUntilTheLastLeaseHasEnded) {
  EXPECT_FALSE(drain_.cancel().value_or_throw()) << "none is under way";
  EXPECT_TRUE(drain_.begin("wanted", Origin::kOrder));
  EXPECT_FALSE(drain_.begin("wanted more", Origin::kOrder));
  EXPECT_EQ(drain_.reason(), "wanted");
  EXPECT_TRUE(drain_.cancel().value_or_throw());
  EXPECT_FALSE(drain_.under_way());
  EXPECT_EQ(drain_.reason(), "");
  EXPECT_FALSE(drain_.counts());
  drain_.note_empty();  // as happens to a node that is up
  EXPECT_FALSE(drained_.poll(scope_));

  EXPECT_TRUE(drain_.begin("wanted again", Origin::kOrder));
  drain_.note_empty();
  EXPECT_TRUE(drained_.poll(scope_));
  EXPECT_NE(refusal().find("its leases have ended and it is leaving"), std::string::npos);
  EXPECT_TRUE(drain_.under_way());
  ASSERT_TRUE(drain_.counts());
  EXPECT_EQ(drain_.counts()->in_order, 0u);
}

TEST_F(NodeDrainTest, IsNotTakenBackFromASignal) {
  EXPECT_TRUE(drain_.begin("TERM", Origin::kHere));
  EXPECT_NE(refusal().find("because of a signal"), std::string::npos);
  EXPECT_TRUE(drain_.under_way());
}

TEST_F(NodeDrainTest, ANodeThatEndsAtOnceStaysEnding) {
  EXPECT_TRUE(drain_.begin("wanted", Origin::kOrder));
  drain_.leave("a second signal");
  EXPECT_EQ(drain_.reason(), "wanted");
  EXPECT_NE(refusal(), "");
  drain_.note_empty();
  EXPECT_FALSE(drained_.poll(scope_)) << "who ended it does not wait for this";
}

}  // namespace
}  // namespace sublet::manager
