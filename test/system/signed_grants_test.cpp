// Grants that prove themselves, presented to real executor managers: by whom they were given to,
// and by others.

#include "manager_client.hpp"
#include "support/managers.hpp"
#include <common/manager_query.hpp>

#include <gtest/gtest.h>

#include <csignal>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;

void expect_denied(const Result<ClaimOfTest>& claim, const std::string& why) {
  ASSERT_FALSE(claim);
  EXPECT_EQ(claim.error().kind(), ErrorKind::kDenied);
  EXPECT_NE(std::string(claim.error().what()).find(why), std::string::npos) << claim.error().what();
}

TEST(SignedGrants, AreRefusedWithABitOfThemChanged) {
  TestManagers managers;
  ManagerClient client(managers.address());
  const auto lease = client.lease(1).value_or_throw();
  const Grant& grant = lease.grants[0];
  EXPECT_TRUE(grant.token.empty()) << "who has the grant cannot reach its executor with it";
  for (std::size_t byte = 0; byte < grant.sealed.size(); byte += 5) {
    auto altered = grant.sealed;
    altered[byte] ^= std::byte{1} << (byte % 8);
    const auto claim = client.claim(grant, {.sealed = altered});
    ASSERT_FALSE(claim) << "byte " << byte;
    EXPECT_EQ(claim.error().kind(), ErrorKind::kDenied);
  }
  auto shorter = grant.sealed;
  shorter.pop_back();
  expect_denied(client.claim(grant, {.sealed = shorter}), "223 bytes are no grant");
  expect_denied(client.claim(grant, {.sealed = {}}), "0 bytes are no grant");
  EXPECT_TRUE(client.claim(grant)) << "as it was, it is still good";
}

TEST(SignedGrants, AreWorthNothingToWhoIsNotTheirHolder) {
  TestManagers managers;
  ManagerClient client(managers.address());
  const auto lease = client.lease(1).value_or_throw();
  const Grant& grant = lease.grants[0];
  auto thief = wire::SigningKey::make();
  expect_denied(client.claim(grant, {.sealed = grant.sealed, .holder = &thief}),
                "is for the holder of another key");
  for (const std::size_t bit : {0u, 100u, 255u, 256u, 511u}) {
    expect_denied(client.claim(grant, {.sealed = grant.sealed, .flip_of_proof = bit}),
                  "is for the holder of another key");
  }
  EXPECT_TRUE(client.claim(grant));
}

TEST(SignedGrants, ArePresentedOverTheConnectionThatTheProofIsFor) {
  TestManagers managers({TestNode{}}, true);
  ManagerClient client(managers.address());
  const auto lease = client.lease(1).value_or_throw();
  Grant remote = lease.grants[0];
  remote.addresses.erase(remote.addresses.begin());
  ASSERT_TRUE(remote.addresses.at(0).starts_with("tcp:"));
  // As who stands between would send on what he was sent.
  wire::ChannelBinding other{};
  expect_denied(client.claim(remote, {.sealed = remote.sealed, .binding = &other}),
                "is for the holder of another key");
  EXPECT_TRUE(client.claim(remote));
}

TEST(SignedGrants, AreClaimedOnce) {
  TestManagers managers;
  ManagerClient client(managers.address());
  const auto lease = client.lease(1).value_or_throw();
  {
    const auto first = client.claim(lease.grants[0]).value_or_throw();
    expect_denied(client.claim(lease.grants[0]), "claimed already");
  }
  managers.wait_for_free_cores(4);
  expect_denied(client.claim(lease.grants[0]), "has ended");
}

TEST(SignedGrants, AreForOneNode) {
  TestNode second;
  second.name = "n2";
  TestManagers managers({TestNode{}, second});
  ManagerClient client(managers.address());
  const auto lease = client.lease(4, 2).value_or_throw();
  ASSERT_EQ(lease.grants.size(), 2u);
  Grant astray = lease.grants[0];
  astray.addresses = lease.grants[1].addresses;
  expect_denied(client.claim(astray), "is for another executor manager");
  EXPECT_TRUE(client.claim(lease.grants[0]));
}

TEST(SignedGrants, AreOfNoUseAfterTheirNodesManagerWasStartedAgain) {
  TestManagers managers;
  ManagerClient client(managers.address());
  const auto lease = client.lease(1).value_or_throw();
  managers.node(0).signal(SIGKILL);
  ASSERT_TRUE(managers.node(0).wait(30s));
  managers.restart_node(0);
  managers.wait_for_free_cores(4);
  Grant old = lease.grants[0];
  old.addresses = managers.nodes().at(0).addresses;
  expect_denied(client.claim(old), "for the one that ran here before this one was started");
}

TEST(SignedGrants, AreGoodWithoutTheResourceManager) {
  TestManagers managers;
  ManagerClient client(managers.address());
  const auto lease = client.lease(1).value_or_throw();
  managers.resource_manager().signal(SIGKILL);
  ASSERT_TRUE(managers.resource_manager().wait(30s));
  EXPECT_TRUE(client.claim(lease.grants[0]));
}

wire::PublicKey grant_key(const TestManagers& managers) {
  return manager::query_clock(managers.address(), 30s).value_or_throw().grant_key;
}

TEST(SignedGrants, AreSignedWithTheSameKeyAfterARestartWithItsState) {
  TestManagers kept({TestNode{}}, false, true);
  const auto before = grant_key(kept);
  kept.resource_manager().signal(SIGKILL);
  ASSERT_TRUE(kept.resource_manager().wait(30s));
  kept.start_resource_manager();
  EXPECT_EQ(grant_key(kept), before);

  TestManagers forgetful;
  const auto first = grant_key(forgetful);
  EXPECT_NE(first, before);
  forgetful.start_resource_manager();
  EXPECT_NE(grant_key(forgetful), first);
  forgetful.wait_for_nodes(1);
  ManagerClient client(forgetful.address());
  const auto lease = client.lease(1).value_or_throw();
  EXPECT_TRUE(client.claim(lease.grants[0])) << "its nodes have learned the new one";
}

/// A node whose clock is ahead by so many seconds.
TestNode shifted_node(const std::string& name, int seconds) {
  TestNode node;
  node.name = name;
  node.before = {"/usr/bin/env", "LD_PRELOAD=" SHIFTED_CLOCK,
                 "SUBLET_TEST_SHIFT_S=" + std::to_string(seconds)};
  return node;
}

TEST(SignedGrants, AreOnNoNodeWhoseClockIsTwoHoursOff) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "nothing can be loaded before the sanitizer";
#endif
  TestManagers managers;
  managers.start_node(shifted_node("far", 7230));
  EXPECT_TRUE(eventually(
      [&] {
        return managers.output().find(
                   "the clock of node far is 2 h 0 min ahead of the resource "
                   "manager's; allowed are 30 s") != std::string::npos;
      },
      30s));
  EXPECT_EQ(managers.nodes().size(), 1u);
  // It says so, and ends.
  EXPECT_TRUE(managers.node(1).wait(60s));
  EXPECT_NE(managers.output().find("refuses this node: the clock of node far"), std::string::npos);
}

TEST(SignedGrants, AreGoodOnANodeWhoseClockIsALittleOff) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "nothing can be loaded before the sanitizer";
#endif
  TestManagers managers({shifted_node("n1", -20)});
  const auto nodes = managers.nodes();
  ASSERT_EQ(nodes.size(), 1u);
  EXPECT_LT(nodes[0].clock_ahead, -5s);
  EXPECT_GT(nodes[0].clock_error, 0ms);
  ManagerClient client(managers.address());
  const auto lease = client.lease(1).value_or_throw();
  auto claim = client.claim(lease.grants[0]).value_or_throw();
  EXPECT_TRUE(client.open(claim, 0, SYSTEM_SAMPLE, "twice"));
}

}  // namespace
}  // namespace sublet::test
