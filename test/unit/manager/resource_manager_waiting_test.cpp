// Requests that wait at the resource manager, and quotas, as clients see them.
#include "resource_manager_fixture.hpp"
#include <wire/manager_calls.hpp>

#include <unistd.h>

#include <limits>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

class WaitingTest : public ResourceManagerTest {
 protected:
  using Leased = capnp::RemotePromise<wire::ResourceManager::LeaseResults>;

  static std::string refusal(const capnp::Response<wire::ResourceManager::LeaseResults>& response) {
    const auto failure = wire::failure_of(response);
    return failure ? failure->what() : "";
  }
  void end(wire::NodeRegistration::Client& node, std::uint64_t lease, std::uint32_t part = 0) {
    auto request = node.endedRequest();
    request.setLeaseId(lease);
    request.setPart(part);
    request.setReason("released");
    request.send().wait(scope_);
  }
  std::vector<LeaseInfo> leases(bool ended = false) {
    return wire::ask_leases(manager_, ended).wait(scope_).value_or_throw();
  }
  /// Heartbeats go on.
  void pass_with(wire::NodeRegistration::Client& node, milliseconds time) {
    for (milliseconds done{0}; done < time; done += 1s) {
      pass(std::min<milliseconds>(1s, time - done));
      node.heartbeatRequest().send().wait(scope_);
    }
  }
};

TEST_F(WaitingTest, AnswersOnceCoresComeFree) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto held = ask(2).wait(scope_);
  Leased waiting = ask(1, 1, 60s);
  EXPECT_FALSE(waiting.poll(scope_));
  ASSERT_EQ(leases().size(), 2u);
  const LeaseInfo info = leases().back();
  EXPECT_EQ(info.state, "waiting");
  EXPECT_EQ(info.place, 1u);
  end(registration, held.getGrants()[0].getLeaseId());
  auto response = waiting.wait(scope_);
  EXPECT_EQ(refusal(response), "");
  EXPECT_EQ(response.getGrants()[0].getLeaseId(), info.id);
  EXPECT_EQ(leases().size(), 1u);
}

TEST_F(WaitingTest, EndsWithTheDeadline) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto held = ask(2).wait(scope_);
  Leased waiting = ask(1, 1, 3s);
  pass_with(registration, 2s);
  EXPECT_FALSE(waiting.poll(scope_));
  pass_with(registration, 2s);
  const auto text = refusal(waiting.wait(scope_));
  EXPECT_NE(text.find("waited for 3."), std::string::npos) << text;
  EXPECT_EQ(leases().size(), 1u);
}

TEST_F(WaitingTest, AClientThatGoesWaitsNoMore) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto held = ask(2).wait(scope_);
  {
    Leased first = ask(2, 1, 60s);
    EXPECT_FALSE(first.poll(scope_));
    EXPECT_EQ(leases().size(), 2u);
  }
  turn();
  EXPECT_EQ(leases().size(), 1u);
  Leased second = ask(1, 1, 60s);
  EXPECT_FALSE(second.poll(scope_));
  end(registration, held.getGrants()[0].getLeaseId());
  EXPECT_EQ(refusal(second.wait(scope_)), "");
  EXPECT_EQ(node.granted.size(), 2u) << "the one that left got nothing";
}

TEST_F(WaitingTest, WaitsAgainWhenNoNodeTakesItAfterAll) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto held = ask(2).wait(scope_);
  Leased waiting = ask(1, 1, 60s);
  EXPECT_FALSE(waiting.poll(scope_));
  node.mood = Mood::kRefuse;
  end(registration, held.getGrants()[0].getLeaseId());
  turn();
  EXPECT_FALSE(waiting.poll(scope_));
  node.mood = Mood::kAccept;
  pass_with(registration, 2s);
  EXPECT_EQ(refusal(waiting.wait(scope_)), "");
}

TEST_F(WaitingTest, ANodeThatComesServesThem) {
  Leased waiting = ask(1, 1, 60s);
  EXPECT_FALSE(waiting.poll(scope_));
  FakeNode node;
  auto registration = join(node, "c1", 2);
  EXPECT_EQ(refusal(waiting.wait(scope_)), "");
}

TEST_F(WaitingTest, ReleaseEndsAWait) {
  Leased waiting = ask(1, 1, 60s);
  EXPECT_FALSE(waiting.poll(scope_));
  const std::uint64_t number = leases().front().id;
  EXPECT_EQ(wire::ask_release(manager_, number, "not today").wait(scope_), 0ms);
  const auto text = refusal(waiting.wait(scope_));
  EXPECT_NE(text.find("the wait was ended by this process: not today"), std::string::npos) << text;
}

/// Thousands of requests: bounded, and all answered.
TEST_F(WaitingTest, AnswersThousands) {
  FakeNode node;
  auto registration = join(node, "c1", 4);
  std::vector<Leased> waiting;
  std::size_t refused = 0;
  for (int i = 0; i < 2000; ++i) {
    Leased one = ask(8, 1, 600s);
    if (!one.poll(scope_)) {
      waiting.push_back(kj::mv(one));
    } else {
      const auto text = refusal(one.wait(scope_));
      EXPECT_NE(text.find("256 requests of this user wait already"), std::string::npos) << text;
      ++refused;
    }
  }
  EXPECT_EQ(waiting.size(), wire::kMaxWaitingOfUser);
  EXPECT_EQ(refused, 2000 - wire::kMaxWaitingOfUser);
  pass_with(registration, 601s);
  for (Leased& one : waiting) EXPECT_NE(refusal(one.wait(scope_)), "");
  EXPECT_TRUE(leases().empty());
}

TEST_F(WaitingTest, RefusesWhatNobodyMayAskFor) {
  const auto asked = [&](milliseconds wait, milliseconds notice, std::int32_t priority,
                         std::chrono::seconds duration = 60s) {
    sublet::LeaseRequest wanted;
    wanted.wait = wait;
    wanted.notice = notice;
    wanted.priority = priority;
    wanted.duration = duration;
    auto request = manager_.leaseRequest();
    wire::write(request.initRequest(), wanted, "boot/me", "someone@here");
    return refusal(request.send().wait(scope_));
  };
  EXPECT_NE(asked(-1ms, 0ms, 0).find("the wait in milliseconds is"), std::string::npos);
  EXPECT_NE(asked(milliseconds::max(), 0ms, 0).find("the wait"), std::string::npos);
  EXPECT_NE(asked(0ms, -5s, 0).find("the notice period"), std::string::npos);
  EXPECT_NE(asked(0ms, 2h, 0).find("allowed are 0 to 3600000"), std::string::npos);
  EXPECT_NE(asked(0ms, 0ms, 101).find("priority is 101"), std::string::npos);
  EXPECT_NE(asked(0ms, 0ms, std::numeric_limits<std::int32_t>::min()).find("priority is"),
            std::string::npos);
  EXPECT_NE(asked(0ms, 0ms, 0, -1s).find("duration"), std::string::npos);
}

TEST_F(WaitingTest, ReleaseWithNoticeTellsTheNode) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto lease = ask(1).wait(scope_);
  const std::uint64_t id = lease.getGrants()[0].getLeaseId();
  auto claimed = registration.claimedRequest();
  claimed.setLeaseId(id);
  claimed.send().wait(scope_);
  EXPECT_EQ(wire::ask_release(manager_, id, "enough", true).wait(scope_), 5000ms);
  EXPECT_EQ(node.end_soon.at(id), 5000u);
  EXPECT_NE(node.reasons.back().find("the lease was ended by this process: enough"),
            std::string::npos);
  EXPECT_EQ(leases().front().state, "ending");
  auto extend = manager_.extendRequest();
  extend.setLeaseId(id);
  extend.setToken(wire::to_data(std::as_bytes(std::span(node.granted.back().token))));
  extend.setDurationMs(1000);
  const auto refused = wire::failure_of(extend.send().wait(scope_));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->kind(), ErrorKind::kDenied);
}

TEST_F(WaitingTest, AQuotaSetWhileOthersWaitServesThem) {
  FakeNode node;
  auto registration = join(node, "c1", 4);
  const std::uint32_t me = ::getuid();
  const auto set = [&](std::optional<std::uint64_t> cores) {
    return wire::ask_set_quota(manager_, {.everybody = false,
                                          .uid = me,
                                          .clear = false,
                                          .set_cores = true,
                                          .set_core_seconds = false,
                                          .quota = {cores, {}}})
        .wait(scope_);
  };
  ASSERT_TRUE(set(2));
  auto held = ask(2).wait(scope_);
  EXPECT_EQ(refusal(held), "");
  Leased waiting = ask(2, 1, 60s);
  EXPECT_FALSE(waiting.poll(scope_));
  const auto quotas = wire::ask_quotas(manager_).wait(scope_).value_or_throw();
  ASSERT_EQ(quotas.size(), 2u);
  EXPECT_EQ(quotas[1].uid, me);
  EXPECT_EQ(quotas[1].held_cores, 2u);
  EXPECT_EQ(quotas[1].waiting, 1u);
  ASSERT_TRUE(set({}));
  EXPECT_EQ(refusal(waiting.wait(scope_)), "");
}

}  // namespace
}  // namespace sublet::manager
