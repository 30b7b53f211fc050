// The resource manager's service: leases on nodes that answer, refuse, are silent or come and go.

#include "resource_manager_fixture.hpp"

#include <span>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

TEST_F(ResourceManagerTest, TellsTheNodesBeforeItAnswersTheClient) {
  FakeNode node;
  auto registration = join(node, "c1", 4);
  auto response = ask(2, 2).wait(scope_);
  ASSERT_FALSE(wire::failure_of(response));
  ASSERT_EQ(response.getGrants().size(), 2u);
  ASSERT_EQ(node.granted.size(), 2u);
  const auto grant = wire::read(response.getGrants()[0]);
  ASSERT_TRUE(grant) << grant.error().what();
  EXPECT_EQ(grant->node_name, "c1");
  EXPECT_EQ(grant->addresses, std::vector<std::string>{"unix:@c1"});
  EXPECT_NE(node.granted[0].token, node.granted[1].token);
  // Only the node is what the client says of itself.
  EXPECT_EQ(node.granted[0].owner, user_name(::getuid()) + "@here");
}

TEST_F(ResourceManagerTest, TriesTheRemainingNodesWhenOneRefuses) {
  FakeNode refusing(Mood::kRefuse);
  FakeNode accepting;
  auto first = join(refusing, "c1", 8);
  auto second = join(accepting, "c2", 8);
  auto response = ask(8).wait(scope_);
  ASSERT_FALSE(wire::failure_of(response));
  EXPECT_EQ(wire::to_string(response.getGrants()[0].getNodeName()), "c2");
  EXPECT_EQ(refusing.revoked.size(), 0u);
  EXPECT_EQ(service_->book().grants().leases(true).size(), 1u);
}

TEST_F(ResourceManagerTest, RefusesAndUndoesWhenTooFewNodesAccept) {
  FakeNode refusing(Mood::kRefuse);
  FakeNode accepting;
  auto first = join(refusing, "c1", 4);
  auto second = join(accepting, "c2", 4);
  auto response = ask(8).wait(scope_);
  const auto failure = wire::failure_of(response);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind(), ErrorKind::kOverloaded);
  EXPECT_NE(std::string(failure->what()).find("node c1 did not take its share: my cores are busy"),
            std::string::npos)
      << failure->what();
  turn();
  EXPECT_EQ(accepting.revoked.size(), 1u);
  EXPECT_EQ(free_cores(), 8u);
  EXPECT_TRUE(service_->book().grants().leases(true).empty());
}

TEST_F(ResourceManagerTest, TellsNodesOfALargeLeaseInPieces) {
  FakeNode silent(Mood::kSilent);
  FakeNode node;
  auto registration = join(node, "c1", 3000);
  auto response = ask(1, 3000).wait(scope_);
  ASSERT_FALSE(wire::failure_of(response));
  EXPECT_EQ(response.getGrants().size(), 3000u);
  EXPECT_EQ(node.granted.size(), 3000u);
  EXPECT_EQ(free_cores(), 0u);

  auto other = join(silent, "c2", 3000);
  auto answer = ask(1, 3000);
  pass(2500ms);  // the first few are not answered; the others are not sent then
  EXPECT_TRUE(wire::failure_of(answer.wait(scope_)));
  EXPECT_LT(silent.heard, 100u);
  turn();
  EXPECT_EQ(free_cores(), 3000u);
}

TEST_F(ResourceManagerTest, NamesThatCannotBeShownAreRefusedOrChanged) {
  FakeNode node;
  auto request = manager_.registerRequest();
  write(request.initNode(), NodeOffer{"c1\x1B[2J", "boot/c1", 2, 0, "0", {"unix:@c1"}});
  request.setControl(kj::heap<FakeControl>(node));
  const auto refused = wire::failure_of(request.send().wait(scope_));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->kind(), ErrorKind::kInvalid);

  auto registration = join(node, "c1", 2);
  auto lease = manager_.leaseRequest();
  sublet::LeaseRequest wanted;
  wanted.holders = {holder_.public_key()};
  wire::write(lease.initRequest(), wanted, "boot/me", "some");
  lease.getRequest().setOwner("someone@some\none\x1B[2J\xFF");
  auto response = lease.send().wait(scope_);
  ASSERT_FALSE(wire::failure_of(response));
  EXPECT_EQ(service_->book().grants().leases(true)[0].owner,
            user_name(::getuid()) + "@some one?[2J?");
}

TEST_F(ResourceManagerTest, GoesOnWithoutANodeThatDoesNotAnswer) {
  FakeNode silent(Mood::kSilent);
  FakeNode accepting;
  auto first = join(silent, "c1", 8);
  auto second = join(accepting, "c2", 8);
  auto answer = ask(8);
  turn();
  EXPECT_TRUE(accepting.granted.empty());
  pass(2100ms);
  auto response = answer.wait(scope_);
  ASSERT_FALSE(wire::failure_of(response));
  EXPECT_EQ(wire::to_string(response.getGrants()[0].getNodeName()), "c2");
  EXPECT_EQ(silent.revoked.size(), 1u);
}

TEST_F(ResourceManagerTest, DroppingTheHandleEndsWhatNobodyClaimed) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  {
    auto response = ask(2).wait(scope_);
    auto handle = response.getHandle();
    turn();
    EXPECT_TRUE(node.revoked.empty());
  }
  turn();
  ASSERT_EQ(node.revoked.size(), 1u);
  EXPECT_TRUE(node.revoked_unclaimed_only[0]);
  EXPECT_EQ(free_cores(), 2u);
}

TEST_F(ResourceManagerTest, DroppingTheHandleLeavesAGrantThatIsClaimed) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  node.holds_on = true;  // the news of the claim comes after the revocation has been sent
  { auto response = ask(2).wait(scope_); }
  turn();
  ASSERT_EQ(node.revoked.size(), 1u);
  EXPECT_EQ(free_cores(), 0u);
  EXPECT_EQ(service_->book().grants().leases(false)[0].state, "active");
}

TEST_F(ResourceManagerTest, NodesThatSayNothingAreLostAndMustRegisterAgain) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  for (int i = 0; i < 10; ++i) {
    pass(1s);
    registration.heartbeatRequest().send().wait(scope_);
  }
  EXPECT_EQ(service_->book().nodes().views(now_)[0].state, "up");
  pass(6s);
  EXPECT_EQ(service_->book().nodes().views(now_)[0].state, "lost");
  try {
    registration.heartbeatRequest().send().wait(scope_);
    FAIL() << "a void registration must say so";
  } catch (const kj::Exception& exception) {
    EXPECT_EQ(exception.getType(), kj::Exception::Type::DISCONNECTED);
  }
}

TEST_F(ResourceManagerTest, ANodeThatRegistersAgainMakesItsOlderRegistrationVoid) {
  FakeNode node;
  auto older = join(node, "c1", 2);
  auto response = ask(1).wait(scope_);
  auto newer = join(node, "c1", 2, node.granted);
  older = nullptr;  // must not make the node leave
  turn();
  EXPECT_EQ(service_->book().nodes().views(now_)[0].state, "up");
  EXPECT_EQ(free_cores(), 1u);
  newer.leaveRequest().send().wait(scope_);
  EXPECT_TRUE(service_->book().nodes().views(now_).empty());
}

TEST_F(ResourceManagerTest, RefusesASecondExecutorManagerOfALivingNode) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  FakeNode other;
  NodeOffer offer{"c1", "boot/c1", 2, 0, "0", {"unix:@c1"}};  // where the first one is reached
  offer.key = other.key.public_key();
  auto request = manager_.registerRequest();
  write(request.initNode(), offer);
  request.setControl(kj::heap<FakeControl>(other));
  auto response = request.send().wait(scope_);
  const auto failure = wire::failure_of(response);
  ASSERT_TRUE(failure);
  EXPECT_NE(std::string(failure->what()).find("--node-name"), std::string::npos);
}

TEST_F(ResourceManagerTest, TakesOverClaimedGrantsAfterARestart) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto response = ask(2).wait(scope_);
  auto held = node.granted;
  held[0].claimed = true;
  auto again = kj::refcounted<ResourceManagerService>(timer_, *Operators::of_this_process(),
                                                      [this] { return now_; });
  manager_ = make_resource_manager(kj::addRef(*again), nullptr);
  auto second = join(node, "c1", 2, held);
  ASSERT_EQ(again->book().grants().leases(false).size(), 1u);
  EXPECT_EQ(again->book().grants().leases(false)[0].state, "active");
  second = nullptr;
}

TEST_F(ResourceManagerTest, ExtensionReachesTheNodes) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto response = ask(1).wait(scope_);
  const auto grant = wire::read(response.getGrants()[0]);
  ASSERT_TRUE(grant);
  auto request = manager_.extendRequest();
  request.setLeaseId(grant->lease_id);
  request.setToken(wire::to_data(std::as_bytes(std::span(node.granted[0].token))));
  request.setDurationMs(7200'000);
  auto extended = request.send().wait(scope_);
  ASSERT_FALSE(wire::failure_of(extended));
  EXPECT_EQ(extended.getExpiresUnixMs(), to_unix_ms(now_) + 7200'000);
  EXPECT_EQ(node.extended[grant->lease_id], extended.getExpiresUnixMs());
}

TEST_F(ResourceManagerTest, ExtensionNeedsAToken) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto lease = ask(1).wait(scope_);
  auto request = manager_.extendRequest();
  request.setLeaseId(lease.getGrants()[0].getLeaseId());
  request.initToken(wire::kTokenBytes);
  request.setDurationMs(1000);
  EXPECT_EQ(wire::failure_of(request.send().wait(scope_))->kind(), ErrorKind::kDenied);
  auto shorter = manager_.extendRequest();
  shorter.initToken(3);
  EXPECT_EQ(wire::failure_of(shorter.send().wait(scope_))->kind(), ErrorKind::kInvalid);
}

TEST_F(ResourceManagerTest, MalformedRequestsAreRefusedWithTheirField) {
  auto request = manager_.leaseRequest();
  const auto failure = wire::failure_of(request.send().wait(scope_));
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(failure->what()).find("cores"), std::string::npos);
}

TEST_F(ResourceManagerTest, UsageOfEndedGrantsIsKept) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto response = ask(2).wait(scope_);
  auto ended = registration.endedRequest();
  ended.setLeaseId(response.getGrants()[0].getLeaseId());
  Usage usage;
  usage.invocations = 42;
  usage.core_seconds = 3;
  wire::write(ended.initUsage(), usage);
  ended.send().wait(scope_);
  auto request = manager_.leasesRequest();
  request.setIncludeEnded(true);
  auto leases = request.send().wait(scope_);
  ASSERT_EQ(leases.getLeases().size(), 1u);
  const LeaseInfo info = wire::read(leases.getLeases()[0]);
  EXPECT_EQ(info.state, "ended");
  EXPECT_EQ(info.usage.invocations, 42u);
  EXPECT_DOUBLE_EQ(info.usage.core_seconds, 3.0);
}

TEST_F(ResourceManagerTest, AddsUpHowLongTheCallsOfNodesRanAndRefusesWhatMakesNoSense) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  const auto tell = [&](std::uint16_t bucket, unsigned times) {
    auto request = registration.callTimesRequest();
    auto list = request.initCalls(times);
    for (unsigned i = 0; i < times; ++i) {
      list[i].setBucket(bucket);
      list[i].setCalls(~std::uint64_t{0} / 2);
    }
    request.setTotalNs(7);
    request.send().wait(scope_);
  };
  tell(5, 1);
  const auto& sum = service_->book().totals().call_times;
  EXPECT_EQ(sum.calls[5], ~std::uint64_t{0} / 2);
  tell(5, 3);
  EXPECT_EQ(sum.calls[5], ~std::uint64_t{0}) << "it stops at the largest number";
  EXPECT_EQ(sum.total_ns, 14u);
  for (const auto& [bucket, times] : {std::pair(wire::kCallTimeBuckets, std::size_t{1}),
                                      std::pair(std::size_t{0}, wire::kCallTimeBuckets + 1)}) {
    EXPECT_THROW(tell(static_cast<std::uint16_t>(bucket), static_cast<unsigned>(times)),
                 kj::Exception);
  }
  EXPECT_EQ(sum.total_ns, 14u);
}

TEST_F(ResourceManagerTest, ANodeIsForgottenWhenItSaysGoodbyeAndElseLost) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  registration = nullptr;
  turn();
  EXPECT_EQ(service_->book().nodes().views(now_).at(0).state, "lost");
  registration = join(node, "c1", 2);
  EXPECT_EQ(service_->book().nodes().views(now_).at(0).state, "up");
  registration.leaveRequest().send().wait(scope_);
  EXPECT_TRUE(service_->book().nodes().views(now_).empty());
  registration = nullptr;  // changes nothing any more
  turn();
  EXPECT_TRUE(service_->book().nodes().views(now_).empty());
}

TEST_F(ResourceManagerTest, ExtensionsAndLeasesHaveALongestTime) {
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto lease = ask(1).wait(scope_);
  const auto most = static_cast<std::uint64_t>(milliseconds(wire::kMaxLeaseDuration).count());
  const auto extend = [&](std::uint64_t ms) {
    auto request = manager_.extendRequest();
    request.setLeaseId(lease.getGrants()[0].getLeaseId());
    request.setToken(wire::to_data(std::as_bytes(std::span(node.granted[0].token))));
    request.setDurationMs(ms);
    return wire::failure_of(request.send().wait(scope_));
  };
  EXPECT_FALSE(extend(most));
  ASSERT_TRUE(extend(most + 1));
  EXPECT_EQ(extend(most + 1)->kind(), ErrorKind::kInvalid);
  auto request = manager_.leaseRequest();
  auto wanted = request.initRequest();
  wire::write(wanted, sublet::LeaseRequest{}, "", "");
  wanted.setDurationMs(most + 1);
  EXPECT_EQ(wire::failure_of(request.send().wait(scope_))->kind(), ErrorKind::kInvalid);
}

TEST_F(ResourceManagerTest, AnObserverHearsWhatNodesAndClientsDo) {
  struct Count final : LeaseObserver {
    void granted(const GrantOnNode& grant) override {
      text += "granted to uid " + std::to_string(grant.terms.owner_uid) + "; ";
    }
    void claimed(const GrantOnNode&) override { text += "claimed; "; }
    void used(const GrantOnNode&, const Usage& usage) override {
      text += "used " + std::to_string(usage.invocations) + "; ";
    }
    void extended(const GrantOnNode&) override { text += "extended; "; }
    void ended(const GrantOnNode&, const Usage& usage, const GrantEnding& ending) override {
      text += ending.reason + " after " + std::to_string(usage.invocations) + "; ";
    }
    std::string text;
  } heard;
  service_->set_observer(&heard);
  FakeNode node;
  auto registration = join(node, "c1", 2);
  auto response = ask(1).wait(scope_);
  const std::uint64_t id = response.getGrants()[0].getLeaseId();
  auto claimed = registration.claimedRequest();
  claimed.setLeaseId(id);
  claimed.send().wait(scope_);
  Usage usage;
  usage.invocations = 4;
  auto used = registration.usageRequest();
  used.setLeaseId(id);
  wire::write(used.initUsage(), usage);
  used.send().wait(scope_);
  usage.invocations = 9;
  auto ended = registration.endedRequest();
  ended.setLeaseId(id);
  ended.setReason("released");
  wire::write(ended.initUsage(), usage);
  ended.send().wait(scope_);
  EXPECT_EQ(heard.text, "granted to uid " + std::to_string(this_process().uid) +
                            "; claimed; used 4; released after 9; ");
  service_->set_observer(nullptr);
}

}  // namespace
}  // namespace sublet::manager
