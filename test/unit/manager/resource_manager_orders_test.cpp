// The resource manager's service: what operators order, and what comes of it.

#include "resource_manager_fixture.hpp"
#include <wire/manager_calls.hpp>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;
using wire::DrainEnd;
using Reports = Result<std::vector<wire::DrainReport>>;

class OrdersTest : public ResourceManagerTest {
 protected:
  ~OrdersTest() noexcept override {}

  kj::Promise<Reports> drain(const std::string& node, milliseconds limit = 5s) {
    auto asked = wire::ask_drain(manager_, node, limit, "wanted", true);
    turn();
    return asked;
  }
  /// The one report of a drain that has ended.
  wire::DrainReport report_of(kj::Promise<Reports>& drained) {
    turn();
    EXPECT_TRUE(drained.poll(scope_)) << "it still waits";
    const auto reports = drained.wait(scope_).value_or_throw();
    EXPECT_EQ(reports.size(), 1u);
    return reports.at(0);
  }
  template <class T>
  static std::string text_of(const Result<T>& result) {
    return result ? "" : result.error().what();
  }
  std::string state() { return service_->book().nodes().views(now_).at(0).state; }
};

TEST_F(OrdersTest, ADrainAnswersWithWhatTheNodeSaysAsItLeaves) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto drained = drain("c1");
  EXPECT_EQ(node.drained, std::vector<std::string>{"wanted"});
  EXPECT_EQ(state(), "draining");
  EXPECT_FALSE(drained.poll(scope_));
  auto goodbye = registration.leaveRequest();
  wire::write(goodbye.initTally(), wire::DrainCounts{1, 2, 3, 4, 5, 6, 7});
  goodbye.send().wait(scope_);
  const auto report = report_of(drained);
  EXPECT_EQ(report.end, DrainEnd::LEFT);
  EXPECT_EQ(report.node_id, "boot/c1");
  ASSERT_TRUE(report.counts);
  EXPECT_EQ(report.counts->in_order, 1u);
  EXPECT_EQ(report.counts->cut_off, 2u);
  EXPECT_EQ(report.counts->unclaimed, 3u);
  EXPECT_EQ(report.counts->broken, 4u);
  EXPECT_EQ(report.counts->calls_finished, 5u);
  EXPECT_EQ(report.counts->calls_cut_off, 6u);
  EXPECT_EQ(report.counts->workers_unknown, 7u);
}

TEST_F(OrdersTest, ANodeThatDoesNotCountSaysNothing) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto drained = drain("c1");
  registration.leaveRequest().send().wait(scope_);
  const auto report = report_of(drained);
  EXPECT_EQ(report.end, DrainEnd::LEFT);
  EXPECT_FALSE(report.counts);
}

TEST_F(OrdersTest, ADrainIsWaitedForOnlySoLong) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto drained = drain("c1", 5s);
  for (int i = 0; i < 14; ++i) {
    pass(1s);
    registration.heartbeatRequest().send().wait(scope_);
  }
  EXPECT_FALSE(drained.poll(scope_));
  pass(2s);
  EXPECT_EQ(report_of(drained).end, DrainEnd::DRAINING);
}

TEST_F(OrdersTest, ANodeThatFallsSilentWhileItDrainsIsLost) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto lease = ask(1, 2).wait(scope_);
  auto drained = drain("c1", 1min);
  pass(6s);
  const auto report = report_of(drained);
  EXPECT_EQ(report.end, DrainEnd::LOST);
  EXPECT_EQ(report.leases_lost, 1u) << "of two parts";
}

TEST_F(OrdersTest, ANodeThatComesBackInsteadOfLeavingIsTold) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto drained = drain("c1", 1min);
  registration = nullptr;
  turn();
  registration = join(node, "c1", 2);
  EXPECT_FALSE(drained.poll(scope_)) << "it may say that it drains";
  registration.heartbeatRequest().send().wait(scope_);
  EXPECT_EQ(report_of(drained).end, DrainEnd::RETURNED);
}

TEST_F(OrdersTest, ANodeThatReconnectsAndDrainsOnIsWaitedFor) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto drained = drain("c1", 1min);
  registration = nullptr;
  turn();
  registration = join(node, "c1", 2);
  registration.drainingRequest().send().wait(scope_);
  registration.heartbeatRequest().send().wait(scope_);
  EXPECT_FALSE(drained.poll(scope_));
  registration.leaveRequest().send().wait(scope_);
  EXPECT_EQ(report_of(drained).end, DrainEnd::LEFT);
}

TEST_F(OrdersTest, OneCallerWaitsForSoManyDrainsAtMost) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  std::vector<kj::Promise<Reports>> waiting;
  for (std::size_t i = 0; i < wire::kMaxDrainWaits; ++i) waiting.push_back(drain("c1"));
  const std::size_t told = node.drained.size();
  const auto refused = drain("c1").wait(scope_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kOverloaded);
  EXPECT_EQ(node.drained.size(), told) << "nothing was done";
  EXPECT_TRUE(wire::ask_drain(manager_, "c1", 5s, "", false).wait(scope_)) << "without waiting";
  // A caller that goes away gives its place back.
  waiting.pop_back();
  turn();
  waiting.push_back(drain("c1"));
  EXPECT_FALSE(waiting.back().poll(scope_));
  registration.leaveRequest().send().wait(scope_);
  for (auto& one : waiting) EXPECT_EQ(report_of(one).end, DrainEnd::LEFT);
}

TEST_F(OrdersTest, ANodeThatWillNotLeaveStaysUp) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  node.refusal = Error(ErrorKind::kUnsupported, "it belongs to a private manager");
  const auto refused = drain("c1").wait(scope_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kUnsupported);
  EXPECT_STREQ(refused.error().what(), "draining node c1; it belongs to a private manager");
  EXPECT_EQ(state(), "up");
}

TEST_F(OrdersTest, ACancelledDrainLetsTheNodeGetLeasesAgainAndTellsWhoWaits) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto drained = drain("c1");
  EXPECT_TRUE(wire::failure_of(ask(1).wait(scope_)));
  EXPECT_EQ(text_of(wire::ask_cancel_drain(manager_, "c1").wait(scope_)), "");
  EXPECT_EQ(state(), "up");
  EXPECT_EQ(report_of(drained).end, DrainEnd::CANCELLED);
  EXPECT_FALSE(wire::failure_of(ask(1).wait(scope_)));
}

TEST_F(OrdersTest, WhatCannotBeCancelledIsTold) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  EXPECT_EQ(text_of(wire::ask_cancel_drain(manager_, "c1").wait(scope_)),
            "the drain of node c1 is not cancelled; it does not drain");
  auto drained = drain("c1");
  node.refusal = Error(ErrorKind::kInvalid, "it is leaving");
  EXPECT_EQ(text_of(wire::ask_cancel_drain(manager_, "c1").wait(scope_)),
            "the drain of node c1 is not cancelled; it is leaving");
  EXPECT_EQ(state(), "draining");
  EXPECT_FALSE(drained.poll(scope_));
}

TEST_F(OrdersTest, ANodeThatIsMarkedHereAloneIsUpAgain) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  registration.drainingRequest().send().wait(scope_);
  EXPECT_EQ(state(), "draining");
  EXPECT_EQ(text_of(wire::ask_cancel_drain(manager_, "c1").wait(scope_)), "");
  EXPECT_EQ(state(), "up");
}

TEST_F(OrdersTest, ReleaseRevokesEveryGrantWithTheReason) {
  FakeNode node;
  FakeNode other;
  auto first = join(node, "c1", 1);
  auto second = join(other, "c2", 1);
  auto lease = ask(1, 2).wait(scope_);
  const std::uint64_t id = lease.getGrants()[0].getLeaseId();
  EXPECT_EQ(text_of(wire::ask_release(manager_, id, "enough\x1B[2J").wait(scope_)), "");
  EXPECT_EQ(node.revoked.size(), 1u);
  EXPECT_EQ(other.revoked.size(), 1u);
  EXPECT_FALSE(node.revoked_unclaimed_only.at(0));
  EXPECT_EQ(free_cores(), 2u);
  ASSERT_EQ(node.reasons.size(), 1u);
  EXPECT_NE(node.reasons[0].find("ended by this process: enough?[2J"), std::string::npos)
      << node.reasons[0];
  EXPECT_EQ(text_of(wire::ask_release(manager_, id, "").wait(scope_)),
            "lease " + std::to_string(id) + " has ended already");
  EXPECT_EQ(
      text_of(wire::ask_release(manager_, 17, "").wait(scope_)).find("no lease has the number 17"),
      0u);
}

TEST_F(OrdersTest, ReleaseOfALeaseOnALostNodeSaysSo) {
  FakeNode node;
  auto registration = join(node, "c1", 1);
  auto lease = ask(1).wait(scope_);
  registration = nullptr;
  turn();
  const auto text =
      text_of(wire::ask_release(manager_, lease.getGrants()[0].getLeaseId(), "").wait(scope_));
  EXPECT_NE(text.find("node c1: it is not connected"), std::string::npos) << text;
}

TEST_F(OrdersTest, ForgetRemovesTheLostOnesOfAName) {
  FakeNode node;
  FakeNode other;
  auto older = join(node, "c1", 2, {}, "old");
  auto lease = ask(2).wait(scope_);
  const auto up = wire::ask_forget(manager_, "c1").wait(scope_);
  ASSERT_FALSE(up);
  EXPECT_EQ(up.error().kind(), ErrorKind::kInvalid);
  older = nullptr;
  turn();
  auto newer = join(other, "c1", 2, {}, "new");
  const auto forgotten = wire::ask_forget(manager_, "c1").wait(scope_);
  ASSERT_TRUE(forgotten) << forgotten.error().what();
  EXPECT_EQ(forgotten->nodes, 1u);
  EXPECT_EQ(forgotten->leases, 1u);
  EXPECT_EQ(forgotten->up, 1u);
  ASSERT_EQ(service_->book().nodes().views(now_).size(), 1u);
  EXPECT_EQ(service_->book().nodes().views(now_)[0].node_id, "new/c1");
  EXPECT_TRUE(service_->book().grants().leases(false).empty());
  EXPECT_FALSE(wire::ask_forget(manager_, "c1").wait(scope_));
  // It comes back with its lease, as one that was lost does.
  older = join(node, "c1", 2, node.granted, "old");
  EXPECT_EQ(service_->book().grants().leases(false).size(), 1u);
}

TEST_F(OrdersTest, ADrainOfANameTellsOnlyThoseThatAreConnected) {
  FakeNode node;
  FakeNode other;
  auto older = join(node, "c1", 2, {}, "old");
  older = nullptr;
  turn();
  const auto lost = drain("c1").wait(scope_);
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().kind(), ErrorKind::kDisconnected);
  EXPECT_NE(std::string(lost.error().what()).find("`sublet forget c1`"), std::string::npos);
  auto newer = join(other, "c1", 2, {}, "new");
  auto drained = drain("c1");
  newer.leaveRequest().send().wait(scope_);
  EXPECT_EQ(report_of(drained).node_id, "new/c1");
  EXPECT_TRUE(node.drained.empty());
}

TEST_F(OrdersTest, AForgottenNodeIsWaitedForNoMore) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto drained = drain("c1", 1min);
  registration = nullptr;
  turn();
  EXPECT_TRUE(wire::ask_forget(manager_, "c1").wait(scope_));
  EXPECT_EQ(report_of(drained).end, DrainEnd::LOST);
}

}  // namespace
}  // namespace sublet::manager
