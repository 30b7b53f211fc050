// A grant on its node: its time, its claim and its end. The executors are real, the time is moved
// by the test.

#include "supervised_node.hpp"
#include <executor_manager/core_inventory.hpp>
#include <executor_manager/held_grant.hpp>
#include <wire/convert.hpp>

#include <gtest/gtest.h>
#include <kj/debug.h>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

struct Heard {
  std::vector<std::string> ending;
  std::vector<std::string> lost;
};

class Notices final : public wire::LeaseNotices::Server {
 public:
  explicit Notices(Heard& heard) : heard_(heard) {}

 protected:
  kj::Promise<void> ending(EndingContext context) override {
    heard_.ending.push_back(wire::to_string(context.getParams().getReason()));
    return kj::READY_NOW;
  }
  kj::Promise<void> lost(LostContext context) override {
    heard_.lost.push_back(wire::to_string(context.getParams().getReason()));
    return kj::READY_NOW;
  }

 private:
  Heard& heard_;
};

class HeldGrantTest : public testing::Test {
 protected:
  HeldGrantTest()
      : inventory_({SupervisedNode::cpusets(), 1, std::uint64_t{1} << 30}),
        grant_(kj::refcounted<HeldGrant>(
            node_.services(), SupervisedNode::terms(),
            inventory_.reserve(1, std::uint64_t{1} << 20).value_or_throw(),
            SupervisedNode::cpusets(),
            [this](HeldGrant&, const std::string& reason) { ended_.push_back(reason); })) {}
  ~HeldGrantTest() noexcept override = default;

  /// Its executor is up, and every timer but that of its end has fired.
  void start_and_claim() {
    ASSERT_TRUE(grant_->start());
    ASSERT_TRUE(node_.wait(grant_->executors().replacement(0)));
    grant_->claim(kj::heap<Notices>(heard_));
    node_.advance(6s);
    ASSERT_EQ(grant_->state(), HeldGrant::State::kClaimed);
  }
  [[nodiscard]] Time now() { return node_.services().clock.now(); }

  SupervisedNode node_;
  CoreInventory inventory_;
  Heard heard_;
  std::vector<std::string> ended_;
  kj::Own<HeldGrant> grant_;
};

TEST_F(HeldGrantTest, AnExtensionLeavesNoTimerBehind) {
  start_and_claim();
  const int before = node_.timer().waiting();
  EXPECT_GT(before, 0);
  for (int i = 1; i <= 100; ++i) ASSERT_TRUE(grant_->extend(now() + 1000s * i));
  EXPECT_EQ(node_.timer().waiting(), before) << "the timers of earlier ends are pending";
}

TEST_F(HeldGrantTest, ItsClientHearsOfTheEndBeforeItComes) {
  start_and_claim();
  ASSERT_TRUE(grant_->extend(now() - 1s));
  node_.advance(0s);
  node_.turn();
  EXPECT_EQ(heard_.ending, std::vector<std::string>{"the lease expires"});
  auto gone = grant_->gone();
  node_.advance(1s);
  node_.wait(kj::mv(gone));
  EXPECT_EQ(heard_.lost, std::vector<std::string>{"the lease expired"});
  EXPECT_EQ(ended_, std::vector<std::string>{"the lease expired"});
  EXPECT_EQ(inventory_.free_cores(), 1u);
  EXPECT_FALSE(grant_->extend(now() + 100s));
}

TEST_F(HeldGrantTest, LapsesWhenNobodyClaimsIt) {
  ASSERT_TRUE(grant_->start());
  ASSERT_TRUE(node_.wait(grant_->executors().replacement(0)));
  auto gone = grant_->gone();
  node_.advance(6s);
  EXPECT_TRUE(grant_->over());
  node_.wait(kj::mv(gone));
  EXPECT_EQ(ended_, std::vector<std::string>{"nobody claimed it in time"});
}

TEST_F(HeldGrantTest, EndsWithAnExecutorThatEndsWhileTheNodeDrains) {
  start_and_claim();
  auto gone = grant_->gone();
  grant_->drain("the node leaves", 60s);
  node_.kill_executor();
  node_.wait(kj::mv(gone));
  node_.turn();
  EXPECT_EQ(ended_, std::vector<std::string>{"the node leaves"});
  EXPECT_EQ(heard_.lost, std::vector<std::string>{"the node leaves"});
}

TEST_F(HeldGrantTest, KeepsItsUsageAfterItsEnd) {
  start_and_claim();
  auto gone = grant_->gone();
  grant_->end("enough", true);
  node_.wait(kj::mv(gone));
  const Usage used = grant_->usage();
  EXPECT_GE(used.core_seconds, 0.0);
  EXPECT_EQ(grant_->usage().core_seconds, used.core_seconds);
  EXPECT_EQ(ended_.size(), 1u);
}

}  // namespace
}  // namespace sublet::manager
