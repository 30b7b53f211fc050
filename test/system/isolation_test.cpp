// What functions of a cluster's users can do to the node and to one another: real managers of
// root's, and leases of users with accounts.
#include "tenants_fixture.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <utility>

namespace sublet::test {
namespace {

class Isolation : public Tenants {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root's managers start executors of other users";
    make_key("operator", 0);
    make_key("games", kGames);
    make_key("man", kMan);
    make_key("nobody-knows", kUnknown);
    wanted_.memory_bytes = kMemory;
    start({"operator", "games", "man", "nobody-knows"}, more_);
  }

  static constexpr uid_t kUnknown = 61000;
  static constexpr std::uint64_t kMemory = std::uint64_t{64} << 20;

  std::vector<std::string> more_;
};

TEST_F(Isolation, RunsFunctionsAsTheOwnerOfTheirLease) {
  auto games = tenant("games");
  EXPECT_EQ(games.ask("uid_here"), kGames);
  EXPECT_EQ(games.ask("gid_here"), 60u);
  auto man = tenant("man");
  EXPECT_EQ(man.ask("uid_here"), kMan);
  // Functions of root's leases are nobody's.
  EXPECT_EQ(tenant("operator").ask("uid_here"), 65534u);
}

TEST_F(Isolation, SaysThatAnOwnerHasNoAccountHere) {
  auto session = session_of("nobody-knows").value_or_throw();
  const auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20});
  ASSERT_FALSE(lease);
  expect_contains(lease.error().what(), "uid 61000, has no account on this node");
}

TEST_F(Isolation, RefusesWhatFunctionsHaveNoBusinessWith) {
  auto games = tenant("games");
  for (const char* const function :
       {"traces", "reads_memory", "mounts", "makes_user_namespace", "clones_namespace", "loads_bpf",
        "uses_keys", "watches_kernel", "types_into_terminal"}) {
    EXPECT_EQ(games.ask(function, games.ask("pid_here")), std::uint64_t{EPERM}) << function;
  }
  EXPECT_EQ(games.ask("uses_io_uring"), std::uint64_t{ENOSYS});
}

TEST_F(Isolation, HidesUsersFromOneAnother) {
  auto games = tenant("games");
  auto man = tenant("man");
  auto again = tenant("games");
  const auto pid = games.ask("pid_here");
  EXPECT_EQ(games.ask("sees_process", pid), 0u);
  EXPECT_EQ(man.ask("sees_process", pid), std::uint64_t{ENOENT});
  EXPECT_EQ(man.ask("sees_process", static_cast<std::uint64_t>(::getpid())), std::uint64_t{ENOENT});
  EXPECT_EQ(man.ask("signals", pid), std::uint64_t{EPERM});
  EXPECT_NE(man.ask("opens_memory", pid), 0u);
  EXPECT_NE(again.ask("opens_memory", pid), 0u);  // another lease of his own
}

TEST_F(Isolation, GivesEachExecutorATmpOfItsOwn) {
  ASSERT_GT(std::distance(std::filesystem::directory_iterator("/tmp"), {}), 0);
  auto games = tenant("games");
  EXPECT_EQ(games.ask("entries_of_tmp"), 0u);
  const auto room = games.ask("room_of_tmp");
  EXPECT_GT(room, 0u);
  EXPECT_LE(room, kMemory);
  EXPECT_EQ(games.ask("leaves_a_file"), 0u);
  EXPECT_EQ(games.ask("entries_of_tmp"), 1u);
  EXPECT_FALSE(std::filesystem::exists("/tmp/sublet-test-left"));
  EXPECT_EQ(tenant("games").ask("entries_of_tmp"), 0u);
}

class NoIsolation : public Isolation {
 protected:
  NoIsolation() { more_ = {"--isolation", "process"}; }
};

TEST_F(NoIsolation, SharesTheFilesOfTheNode) {
  auto games = tenant("games");
  EXPECT_GT(games.ask("entries_of_tmp"), 0u);
  EXPECT_EQ(games.ask("sees_process", static_cast<std::uint64_t>(::getpid())), 0u);
}

TEST_F(NoIsolation, TakesNoNonsense) {
  const Ended word = run({"executor-manager", "--isolation", "some"});
  EXPECT_EQ(word.code, 2) << word.output;
  expect_contains(word.output, "must be sandbox, container or process");
  const Ended hidden = run({"executor-manager", "--core-directory", directory_});
  EXPECT_EQ(hidden.code, 2) << hidden.output;
  expect_contains(hidden.output, "of their own: name another place");
}

}  // namespace
}  // namespace sublet::test
