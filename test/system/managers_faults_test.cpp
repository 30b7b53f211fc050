// What happens to leases when processes are killed in the middle of them. Each test also shows that
// the cores are free again in bounded time and that no process is left: TestManagers looks for all
// that were ever started for it.

#include "manager_client.hpp"
#include "support/managers.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;

class ManagersFaults : public testing::Test {
 protected:
  void expect_nothing_left() {
    managers_.wait_for_free_cores(4);
    EXPECT_TRUE(eventually([&] { return managers_.executors().empty(); }));
  }

  TestManagers managers_;
};

TEST_F(ManagersFaults, AKilledExecutorIsReplacedWithItsFunctions) {
  ManagerClient client(managers_.address());
  const auto lease = client.lease(2).value_or_throw();
  {
    auto claim = client.claim(lease.grants[0]).value_or_throw();
    ASSERT_TRUE(client.open(claim, 0, SYSTEM_SAMPLE, "twice"));
    ASSERT_TRUE(client.open(claim, 1, SYSTEM_SAMPLE, "thrice"));
    const auto before = managers_.executors();
    ASSERT_EQ(before.size(), 1u);
    ::kill(before[0], SIGKILL);
    EXPECT_EQ(client.replacement(claim, 1).value_or_throw(), 2u);
    const std::string fate = client.fate(claim, 1);
    EXPECT_NE(fate.find("signal 9"), std::string::npos) << fate;
    const auto after = managers_.executors();
    ASSERT_EQ(after.size(), 1u);
    EXPECT_NE(after[0], before[0]);
    EXPECT_FALSE(client.open(claim, 1, SYSTEM_SAMPLE, "twice")) << "its number is taken still";
    EXPECT_EQ(managers_.free_cores(), 2u);
  }
  expect_nothing_left();
}

TEST_F(ManagersFaults, ALibraryThatCrashesWhenItIsLoadedCostsOneExecutor) {
  ManagerClient client(managers_.address());
  const auto lease = client.lease(1).value_or_throw();
  auto claim = client.claim(lease.grants[0]).value_or_throw();
  ASSERT_TRUE(client.open(claim, 0, SYSTEM_SAMPLE, "twice"));
  const auto crashed = client.open(claim, 1, SYSTEM_CRASH_ON_LOAD, "never");
  ASSERT_FALSE(crashed);
  EXPECT_EQ(crashed.error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(client.replacement(claim, 1).value_or_throw(), 2u);
  EXPECT_TRUE(client.open(claim, 2, SYSTEM_SAMPLE, "thrice"));
  EXPECT_TRUE(claim.heard->lost.empty());
}

TEST_F(ManagersFaults, MemoryBeyondTheLimitIsNamedAsTheCause) {
  if (managers_.output().find("memory limits are by rlimit alone") != std::string::npos) {
    GTEST_SKIP() << "no memory cgroup can be made here";
  }
  ManagerClient client(managers_.address());
  const auto lease = client.lease(1).value_or_throw();
  auto claim = client.claim(lease.grants[0]).value_or_throw();
  const auto killed = client.open(claim, 0, SYSTEM_MEMORY_ON_LOAD, "never");
  ASSERT_FALSE(killed);
  EXPECT_NE(std::string(killed.error().what()).find("memory limit"), std::string::npos)
      << killed.error().what();
  EXPECT_NE(client.fate(claim, 1).find("memory limit"), std::string::npos);
}

TEST_F(ManagersFaults, AKilledClientGivesItsCoresBack) {
  const pid_t child = ::fork();
  if (child == 0) {
    ManagerClient client(managers_.address());
    const auto lease = client.lease(4).value_or_throw();
    auto claim = client.claim(lease.grants[0]).value_or_throw();
    const bool opened = client.open(claim, 0, SYSTEM_SAMPLE, "twice").has_value();
    if (!opened) ::_exit(1);
    for (;;) ::pause();
  }
  EXPECT_TRUE(eventually([&] {
    const auto leases = managers_.leases();
    return leases.size() == 1 && leases[0].state == "active";
  }));
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  expect_nothing_left();
}

TEST_F(ManagersFaults, AKilledExecutorManagerTakesItsExecutorsAlong) {
  ManagerClient client(managers_.address());
  const auto lease = client.lease(2).value_or_throw();
  auto claim = client.claim(lease.grants[0]).value_or_throw();
  ASSERT_TRUE(client.open(claim, 0, SYSTEM_SAMPLE, "twice"));
  managers_.node(0).signal(SIGKILL);
  ASSERT_TRUE(managers_.node(0).wait(30s));
  EXPECT_TRUE(eventually([&] { return managers_.processes().size() == 1; }))
      << "only the resource manager may be left";
  EXPECT_TRUE(eventually([&] { return managers_.nodes().at(0).state == "lost"; }));
  EXPECT_TRUE(eventually([&] { return managers_.leases().empty(); }));
  const auto refused = client.lease(1);
  ASSERT_FALSE(refused);
  EXPECT_NE(std::string(refused.error().what()).find("1 node is lost"), std::string::npos);
  managers_.start_node(TestNode{});
  managers_.wait_for_nodes(1);
  EXPECT_EQ(managers_.free_cores(), 4u);
}

TEST_F(ManagersFaults, AnExecutorManagerThatReturnsAtOnceTakesItsNodeOver) {
  ManagerClient client(managers_.address());
  const auto lease = client.lease(2).value_or_throw();
  const auto claim = client.claim(lease.grants[0]).value_or_throw();
  managers_.node(0).signal(SIGKILL);
  managers_.start_node(TestNode{});
  managers_.wait_for_free_cores(4);
  EXPECT_TRUE(managers_.leases().empty());
}

TEST_F(ManagersFaults, LeasesDoNotNoticeThatTheResourceManagerIsKilled) {
  ManagerClient client(managers_.address());
  const auto lease = client.lease(2).value_or_throw();
  {
    auto claim = client.claim(lease.grants[0]).value_or_throw();
    managers_.resource_manager().signal(SIGKILL);
    ASSERT_TRUE(managers_.resource_manager().wait(30s));
    EXPECT_TRUE(client.open(claim, 0, SYSTEM_SAMPLE, "twice"));
    ::kill(managers_.executors().at(0), SIGKILL);
    EXPECT_EQ(client.replacement(claim, 1).value_or_throw(), 2u) << "without a resource manager";

    // Its socket file is still there, and replaced.
    managers_.start_resource_manager();
    managers_.wait_for_nodes(1);
    const auto leases = managers_.leases();
    ASSERT_EQ(leases.size(), 1u);
    EXPECT_EQ(leases[0].id, lease.grants[0].lease_id);
    EXPECT_EQ(leases[0].state, "active");
    EXPECT_TRUE(leases[0].owner.ends_with("@somewhere"));
    EXPECT_EQ(managers_.free_cores(), 2u);
    EXPECT_TRUE(claim.heard->lost.empty());

    client.reconnect(managers_.address());
    EXPECT_TRUE(client.extend(lease.grants[0], claim, 3600s));
    EXPECT_NE(client.lease(1).value_or_throw().grants[0].lease_id, leases[0].id);
  }
  expect_nothing_left();
}

TEST_F(ManagersFaults, LeasesThatEndWhileTheResourceManagerIsAwayAreNotHeldAfterwards) {
  ManagerClient client(managers_.address());
  const auto lease = client.lease(2).value_or_throw();
  {
    const auto claim = client.claim(lease.grants[0]).value_or_throw();
    managers_.resource_manager().signal(SIGKILL);
    ASSERT_TRUE(managers_.resource_manager().wait(30s));
  }
  EXPECT_TRUE(eventually([&] { return managers_.executors().empty(); }));
  managers_.start_resource_manager();
  managers_.wait_for_nodes(1);
  EXPECT_EQ(managers_.free_cores(), 4u);
}

TEST_F(ManagersFaults, AKilledZygoteIsStartedAgainAndItsExecutorsReplaced) {
  ManagerClient client(managers_.address());
  const auto lease = client.lease(2).value_or_throw();
  {
    auto claim = client.claim(lease.grants[0]).value_or_throw();
    ASSERT_TRUE(client.open(claim, 0, SYSTEM_SAMPLE, "twice"));
    const pid_t killed = managers_.zygote();
    ASSERT_GT(killed, 0);
    ::kill(killed, SIGKILL);
    EXPECT_EQ(client.replacement(claim, 1).value_or_throw(), 2u);
    EXPECT_FALSE(client.fate(claim, 1).empty());
    EXPECT_EQ(managers_.executors().size(), 1u);
  }
  expect_nothing_left();
}

TEST_F(ManagersFaults, ATerminatedExecutorManagerTellsItsClientsAndLeavesNothing) {
  ManagerClient client(managers_.address());
  const auto lease = client.lease(2).value_or_throw();
  const auto claim = client.claim(lease.grants[0]).value_or_throw();
  managers_.node(0).signal(SIGTERM);
  ASSERT_TRUE(client.until([&] { return !claim.heard->lost.empty(); }));
  const auto status = managers_.node(0).wait(30s);
  ASSERT_TRUE(status);
  EXPECT_TRUE(WIFEXITED(*status) && WEXITSTATUS(*status) == 0) << *status;
  EXPECT_EQ(managers_.processes().size(), 1u);
  EXPECT_TRUE(managers_.nodes().empty()) << "it left, it is not lost";
  EXPECT_TRUE(managers_.leases().empty());
}

TEST_F(ManagersFaults, AMalformedClaimTakesNothing) {
  ManagerClient client(managers_.address());
  const auto lease = client.lease(2).value_or_throw();
  try {
    EXPECT_FALSE(client.claim_malformed(lease.grants[0]));
  } catch (const kj::Exception& exception) {
    EXPECT_NE(exception.getType(), kj::Exception::Type::OVERLOADED) << "no answer came";
  }
  EXPECT_EQ(managers_.leases().at(0).state, "granted");
  {
    const auto claim = client.claim(lease.grants[0]);
    EXPECT_TRUE(claim) << claim.error().what();
  }
  expect_nothing_left();
}

TEST_F(ManagersFaults, AClaimOfTooManyOrTooLongTransportsTakesNothing) {
  ManagerClient client(managers_.address());
  const auto lease = client.lease(2).value_or_throw();
  const Grant& grant = lease.grants[0];
  const std::vector<std::string> too_many(9, "tcp");
  const std::vector<std::string> too_long = {"tcp", std::string(16, 't')};
  for (const auto& transports : {too_many, too_long}) {
    const auto refused = client.claim(grant, {.sealed = grant.sealed, .transports = transports});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind(), ErrorKind::kInvalid) << refused.error().what();
  }
  EXPECT_EQ(managers_.leases().at(0).state, "granted");
  {
    const auto claim = client.claim(grant);
    EXPECT_TRUE(claim) << claim.error().what();
  }
  expect_nothing_left();
}

TEST_F(ManagersFaults, ATerminatedResourceManagerRemovesItsSocket) {
  const std::string path = managers_.address().substr(5);
  ASSERT_TRUE(std::filesystem::exists(path));
  managers_.resource_manager().signal(SIGTERM);
  const auto status = managers_.resource_manager().wait(30s);
  ASSERT_TRUE(status);
  EXPECT_TRUE(WIFEXITED(*status) && WEXITSTATUS(*status) == 0) << *status;
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(ManagersFaults, ASecondExecutorManagerOfANodeWaitsUntilTheFirstIsGone) {
  managers_.start_node(TestNode{});
  EXPECT_TRUE(eventually([&] {
    return managers_.output().find("another executor manager serves node n1") != std::string::npos;
  }));
  EXPECT_EQ(managers_.free_cores(), 4u);
  managers_.node(0).signal(SIGTERM);
  ASSERT_TRUE(managers_.node(0).wait(30s));
  managers_.wait_for_nodes(1);
}

}  // namespace
}  // namespace sublet::test
