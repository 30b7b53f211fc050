// A grant on its node: its time, its claim and its end. The executors are real, the time is moved
// by the test.

#include "supervised_node.hpp"
#include <executor_manager/core_inventory.hpp>
#include <executor_manager/held_grant.hpp>
#include <wire/convert.hpp>

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <functional>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

struct Heard {
  std::vector<std::string> ending;
  std::vector<std::string> lost;
  std::uint64_t left_ms = 0;
  int stays = 0;
  bool broken = false;
};

class Notices final : public wire::LeaseNotices::Server {
 public:
  explicit Notices(Heard& heard) : heard_(heard) {}

 protected:
  kj::Promise<void> ending(EndingContext context) override {
    if (heard_.broken) return KJ_EXCEPTION(DISCONNECTED, "the client has gone");
    heard_.ending.push_back(wire::to_string(context.getParams().getReason()));
    heard_.left_ms = context.getParams().getLeftMs();
    return kj::READY_NOW;
  }
  kj::Promise<void> lost(LostContext context) override {
    heard_.lost.push_back(wire::to_string(context.getParams().getReason()));
    return kj::READY_NOW;
  }
  kj::Promise<void> stays(StaysContext) override {
    ++heard_.stays;
    return kj::READY_NOW;
  }

 private:
  Heard& heard_;
};

class HeldGrantTest : public testing::Test {
 protected:
  HeldGrantTest()
      : inventory_({SupervisedNode::cpusets(), 1, std::uint64_t{1} << 30}), grant_(make_grant()) {}
  ~HeldGrantTest() noexcept override = default;

  kj::Own<HeldGrant> make_grant() {
    return kj::refcounted<HeldGrant>(
        node_.services(), SupervisedNode::terms(),
        inventory_.reserve(1, std::uint64_t{1} << 20).value_or_throw(),
        WorkerPlaces{SupervisedNode::cpusets()},
        [this](HeldGrant&, const std::string& reason) { ended_.push_back(reason); });
  }
  /// Another grant in place of one that has ended.
  void renew() { grant_ = make_grant(); }
  /// Its executor is up, and every timer but that of its end has fired.
  void start_and_claim(bool keep = false) {
    ASSERT_TRUE(grant_->start());
    ASSERT_TRUE(node_.wait(grant_->executors().replacement(0)));
    grant_->claim(kj::heap<Notices>(heard_), keep);
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

TEST_F(HeldGrantTest, EndsSoonAndTellsItsClientHowSoon) {
  start_and_claim();
  ASSERT_TRUE(grant_->end_soon(30s, "an operator ends it"));
  node_.advance(0s);
  node_.turn();
  EXPECT_EQ(heard_.ending, std::vector<std::string>{"an operator ends it"});
  EXPECT_LE(heard_.left_ms, 30'000u);
  EXPECT_GT(heard_.left_ms, 25'000u);
  const auto extended = grant_->extend(now() + 1000s);
  ASSERT_FALSE(extended);
  EXPECT_EQ(extended.error().kind(), ErrorKind::kDenied);
  EXPECT_EQ(grant_->state(), HeldGrant::State::kClaimed) << "it has its time";
  ASSERT_TRUE(grant_->end_soon(0s, "at once, then"));
  node_.advance(0s);
  node_.turn();
  auto gone = grant_->gone();
  node_.advance(1s);
  node_.wait(kj::mv(gone));
  EXPECT_EQ(ended_, std::vector<std::string>{"at once, then"});
}

TEST_F(HeldGrantTest, CannotTellAnybodyOfTheEndWhenNobodyHasIt) {
  ASSERT_TRUE(grant_->start());
  const auto told = grant_->end_soon(30s, "an operator ends it");
  ASSERT_FALSE(told);
  EXPECT_EQ(told.error().kind(), ErrorKind::kInvalid);
}

TEST_F(HeldGrantTest, DrainsWithinItsOwnNoticePeriod) {
  start_and_claim();
  grant_->drain("the node leaves", 600s, true);
  node_.turn();
  EXPECT_EQ(heard_.left_ms, 5000u);
}

TEST_F(HeldGrantTest, OneThatIsKeptIsBorrowedByOneAfterTheOther) {
  start_and_claim(true);
  Heard first;
  Heard second;
  ASSERT_TRUE(grant_->borrow(kj::heap<Notices>(first)));
  const auto busy = grant_->borrow(kj::heap<Notices>(second));
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error().kind(), ErrorKind::kOverloaded);
  grant_->give_back();
  EXPECT_FALSE(grant_->borrow(kj::heap<Notices>(second))) << "the executor that has seen the first";
  ASSERT_TRUE(node_.wait(grant_->executors().replacement(1))) << "it has another";
  ASSERT_TRUE(grant_->borrow(kj::heap<Notices>(second)));
  EXPECT_EQ(grant_->state(), HeldGrant::State::kClaimed);
  EXPECT_TRUE(ended_.empty());
  auto gone = grant_->gone();
  grant_->end("its keeper left", false);
  node_.wait(kj::mv(gone));
  EXPECT_EQ(second.lost, std::vector<std::string>{"its keeper left"});
  EXPECT_TRUE(first.lost.empty());
  EXPECT_TRUE(heard_.lost.empty()) << "it is the one who wants it";
}

/// A client that goes at the moment in which its node is given back.
TEST_F(HeldGrantTest, DrainsWithAClientThatCannotBeTold) {
  heard_.broken = true;
  start_and_claim();
  auto gone = grant_->gone();
  grant_->drain("the node leaves", 60s);
  node_.turn();
  EXPECT_EQ(grant_->state(), HeldGrant::State::kClaimed);
  node_.advance(600ms);
  node_.wait(kj::mv(gone));
  EXPECT_EQ(ended_, std::vector<std::string>{"the node leaves"});
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

TEST_F(HeldGrantTest, GoesOnWhenTheDrainIsTakenBack) {
  start_and_claim();
  grant_->drain("the node leaves", 60s);
  node_.turn();
  grant_->resume();
  node_.turn();
  EXPECT_EQ(heard_.stays, 1);
  node_.advance(61s);
  EXPECT_EQ(grant_->state(), HeldGrant::State::kClaimed);
  grant_->resume();
  node_.turn();
  EXPECT_EQ(heard_.stays, 1) << "it does not drain";
  // Executors are replaced as before, and the next drain ends it.
  node_.kill_executor();
  ASSERT_TRUE(node_.wait(grant_->executors().replacement(1)));
  auto gone = grant_->gone();
  grant_->drain("the node leaves again", 60s);
  node_.advance(1s);
  node_.wait(kj::mv(gone));
  EXPECT_EQ(ended_, std::vector<std::string>{"the node leaves again"});
}

// It has heard that it may end, and is taken back before or after it has: then another follows.
TEST_F(HeldGrantTest, KeepsAnExecutorWhenTheDrainIsTakenBackLate) {
  start_and_claim();
  grant_->drain("the node leaves", 60s);
  node_.turn();
  node_.advance(600ms);
  grant_->resume();
  EXPECT_FALSE(grant_->over());
  node_.kill_executor();
  ASSERT_TRUE(node_.wait(grant_->executors().replacement(1)));
}

TEST_F(HeldGrantTest, SaysWhatADrainDidToIt) {
  const auto end_of = [this](const std::function<void()>& drain) {
    auto gone = grant_->gone();
    drain();
    node_.wait(kj::mv(gone));
    return grant_->drain_end();
  };
  using End = HeldGrant::DrainEnd;
  ASSERT_TRUE(grant_->start());
  EXPECT_EQ(end_of([this] { grant_->drain("unclaimed", 60s); }), End::kUnclaimed);
  renew();
  start_and_claim();
  EXPECT_EQ(end_of([this] { grant_->drain("at once", 0s); }), End::kCutOff);
  renew();
  start_and_claim();
  EXPECT_EQ(end_of([this] {
              grant_->drain("idle", 60s);
              node_.turn();
              node_.advance(600ms);
            }),
            End::kInOrder);
  renew();
  start_and_claim();
  EXPECT_EQ(end_of([this] {
              grant_->drain("it dies", 60s);
              node_.kill_executor();
            }),
            End::kBroken);
  renew();
  start_and_claim();
  EXPECT_EQ(end_of([this] {
              grant_->drain("given back", 60s);
              grant_->end("its client released it", false);
            }),
            End::kInOrder);
  renew();
  start_and_claim();
  EXPECT_EQ(end_of([this] {
              grant_->drain("too long", 100ms);
              node_.advance(200ms);
            }),
            End::kCutOff);
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
