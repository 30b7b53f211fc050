// Leases on real managers, executors and clients, each a process of its own.

#include "support/managers.hpp"

#include "manager_client.hpp"
#include <wire/limits.hpp>

#include <gtest/gtest.h>

#include <csignal>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;

std::vector<TestNode> two_nodes() {
  TestNode first;
  TestNode second;
  second.name = "n2";
  second.oversubscribe = 2;
  return {first, second};
}

TEST(Managers, LeaseRunsAnExecutorUntilItsClientDropsIt) {
  TestManagers managers;
  ManagerClient client(managers.address());
  {
    const auto lease = client.lease(3).value_or_throw();
    ASSERT_EQ(lease.grants.size(), 1u);
    EXPECT_EQ(lease.grants[0].node_name, "n1");
    EXPECT_EQ(managers.free_cores(), 1u);
    EXPECT_EQ(managers.leases().at(0).state, "granted");

    auto claim = client.claim(lease.grants[0]).value_or_throw();
    EXPECT_EQ(claim.generation, 1u);
    EXPECT_EQ(claim.cpusets.size(), 3u);
    EXPECT_FALSE(claim.socket.empty());
    EXPECT_TRUE(client.open(claim, 0, SYSTEM_SAMPLE, "twice"));
    EXPECT_EQ(managers.executors().size(), 1u);
    EXPECT_TRUE(eventually([&] { return managers.leases().at(0).state == "active"; }));
    EXPECT_TRUE(managers.leases().at(0).owner.ends_with("@somewhere"));
  }
  managers.wait_for_free_cores(4);
  EXPECT_TRUE(eventually([&] { return managers.executors().empty(); }));
  EXPECT_TRUE(managers.leases().empty());
  EXPECT_EQ(managers.leases(true).at(0).state, "ended");
}

TEST(Managers, PartsAndNodesAreClaimedOneByOne) {
  TestManagers managers(two_nodes());
  ManagerClient client(managers.address());
  const auto lease = client.lease(3, 2).value_or_throw();
  ASSERT_EQ(lease.grants.size(), 3u) << "one part on n1, the other split over both nodes";
  std::vector<ClaimOfTest> claims;
  for (const Grant& grant : lease.grants) claims.push_back(client.claim(grant).value_or_throw());
  EXPECT_EQ(managers.free_cores(), 0u);
  claims.clear();
  managers.wait_for_free_cores(6);
}

TEST(Managers, WorksOverTcp) {
  TestManagers managers({TestNode{}}, true);
  ManagerClient client(managers.address());
  const auto lease = client.lease(1).value_or_throw();
  Grant remote = lease.grants[0];
  ASSERT_GE(remote.addresses.size(), 2u) << "a node must be reachable from other nodes";
  EXPECT_TRUE(remote.addresses[1].starts_with("tcp:")) << remote.addresses[1];
  remote.addresses.erase(remote.addresses.begin());
  auto claim = client.claim(remote).value_or_throw();
  EXPECT_TRUE(client.open(claim, 0, SYSTEM_SAMPLE, "twice"));
}

TEST(Managers, ALeaseThatIsTooLargeIsRefusedAndSaysWhatIsFree) {
  TestManagers managers(two_nodes());
  ManagerClient client(managers.address());
  const auto refused = client.lease(1, 7);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kOverloaded);
  EXPECT_EQ(std::string(refused.error().what()),
            "asked for 7 cores in 7 parts of 1 and 64 MiB each; free are 6 cores on 2 nodes: "
            "n1 4 cores 1 GiB, n2 2 cores 1 GiB; no node is lost");
  EXPECT_EQ(managers.free_cores(), 6u);
}

TEST(Managers, AGrantThatNobodyClaimsLapses) {
  TestManagers managers;
  ManagerClient client(managers.address());
  const auto lease = client.lease(2).value_or_throw();
  EXPECT_EQ(managers.free_cores(), 2u);
  managers.wait_for_free_cores(4, wire::kClaimTimeout + 30s);
  EXPECT_TRUE(eventually([&] { return managers.executors().empty(); }));
  const auto late = client.claim(lease.grants[0]);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().kind(), ErrorKind::kDenied);
  EXPECT_NE(std::string(late.error().what()).find("nobody claimed it in time"), std::string::npos)
      << late.error().what();
}

TEST(Managers, DroppingTheHandleFreesWhatIsUnclaimedAtOnce) {
  TestManagers managers;
  ManagerClient client(managers.address());
  auto lease = client.lease(1, 2).value_or_throw();
  const auto claim = client.claim(lease.grants[0]).value_or_throw();
  lease.handle.reset();
  ASSERT_TRUE(client.until([&] { return managers.free_cores() == 3; }));
  EXPECT_EQ(managers.executors().size(), 1u);
}

TEST(Managers, TheClientIsToldBeforeAndWhenItsLeaseExpires) {
  TestManagers managers;
  ManagerClient client(managers.address());
  const auto lease = client.lease(1, 1, 3000ms).value_or_throw();
  const auto claim = client.claim(lease.grants[0]).value_or_throw();
  ASSERT_TRUE(client.until([&] { return !claim.heard->lost.empty(); }));
  EXPECT_EQ(claim.heard->ending, 1);
  EXPECT_GT(claim.heard->left_ms, 0u);
  EXPECT_NE(claim.heard->lost[0].find("expired"), std::string::npos) << claim.heard->lost[0];
  managers.wait_for_free_cores(4);
}

TEST(Managers, AnExtensionMovesTheExpiry) {
  TestManagers managers;
  ManagerClient client(managers.address());
  const auto lease = client.lease(1, 1, 3000ms).value_or_throw();
  const auto claim = client.claim(lease.grants[0]).value_or_throw();
  const auto expires = client.extend(lease.grants[0], claim, 600s);
  ASSERT_TRUE(expires) << expires.error().what();
  EXPECT_GT(*expires, lease.grants[0].expires_unix_ms + 500'000);
  // Another lease, for as long as that one had, from later on: when it has expired, the first would
  // have.
  const auto other = client.lease(1, 1, 3000ms).value_or_throw();
  const auto other_claim = client.claim(other.grants[0]).value_or_throw();
  ASSERT_TRUE(client.until([&] { return !other_claim.heard->lost.empty(); }));
  EXPECT_TRUE(claim.heard->lost.empty());
  ASSERT_TRUE(client.until([&] { return managers.leases().size() == 1; }));
  EXPECT_EQ(managers.leases().at(0).state, "active");
}

TEST(Managers, LibrariesThatDoNotServeSayWhy) {
  TestManagers managers;
  ManagerClient client(managers.address());
  const auto lease = client.lease(1).value_or_throw();
  auto claim = client.claim(lease.grants[0]).value_or_throw();
  const auto missing = client.open(claim, 0, SYSTEM_SAMPLE, "four_times");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(missing.error().what()).find("four_times"), std::string::npos)
      << missing.error().what();
  const auto nothing = client.open(claim, 1, "/proc/self/cmdline", "main");
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().kind(), ErrorKind::kInvalid);
  ASSERT_TRUE(client.open(claim, 2, SYSTEM_SAMPLE, "twice"));
  EXPECT_FALSE(client.open(claim, 2, SYSTEM_SAMPLE, "thrice")) << "its number is taken";
}

TEST(Managers, UsageCountsTheTimeThatCoresAreHeld) {
  TestManagers managers;
  ManagerClient client(managers.address());
  const auto lease = client.lease(2).value_or_throw();
  double so_far = 0;
  {
    auto claim = client.claim(lease.grants[0]).value_or_throw();
    ASSERT_TRUE(client.until([&] { return client.usage(claim).core_seconds > 0; }));
    so_far = client.usage(claim).core_seconds;
    EXPECT_TRUE(eventually([&] { return managers.leases().at(0).usage.core_seconds >= so_far; }))
        << "the resource manager hears of it with the heartbeats";
  }
  managers.wait_for_free_cores(4);
  EXPECT_GE(managers.leases(true).at(0).usage.core_seconds, so_far);
}

}  // namespace
}  // namespace sublet::test
