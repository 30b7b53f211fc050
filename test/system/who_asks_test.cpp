// Users who share a resource manager over a network, each with a key of his own.
#include "shared_cluster.hpp"

#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;

/// root's managers; root, and a user who is none, ask.
class WhoAsks : public SharedCluster {
 protected:
  static constexpr uid_t kUser = 61000;
  static constexpr int kRefused = 4;

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root makes files of other users";
    make_key("operator", 0);
    make_key("user", kUser);
    make_key("stranger", 0);
    start({"operator", "user"}, {"--executor-user", "nobody"});
  }

  Ended as(const std::string& whose, std::vector<std::string> words) {
    words.insert(words.end(), {"--manager", address_});
    return run(std::move(words), {"SUBLET_KEY_FILE=" + key(whose)});
  }
};

TEST_F(WhoAsks, LetsUsersLeaseAndLookAndOperatorsDrain) {
  EXPECT_EQ(as("user", {"nodes"}).code, 0);
  auto session = session_of("user").value_or_throw();
  auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20});
  ASSERT_TRUE(lease) << lease.error().what();
  for (const std::vector<std::string>& order :
       {std::vector<std::string>{"drain", "n1", "--no-wait"},
        {"drain", "n1", "--cancel"},
        {"forget", "n1"}}) {
    const Ended refused = as("user", order);
    EXPECT_EQ(refused.code, kRefused) << refused.output;
    expect_contains(refused.output, "uid 61000 at 127.0.0.1 (key file) may not ");
    expect_contains(refused.output, "root may");
  }
  EXPECT_EQ(as("operator", {"drain", "n1", "--no-wait"}).code, 0);
}

TEST_F(WhoAsks, ShowsUsersTheirOwnLeasesAndTheSumOfOthers) {
  auto users = session_of("user").value_or_throw();
  auto operators = session_of("operator").value_or_throw();
  auto own = users.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw();
  auto other = operators.lease({.cores = 2, .arena_bytes = 1u << 20}).value_or_throw();
  const Ended seen = as("user", {"leases", "--output", "json"});
  ASSERT_EQ(seen.code, 0) << seen.output;
  const auto leases = nlohmann::json::parse(seen.output).at("leases");
  ASSERT_EQ(leases.size(), 2u) << seen.output;
  EXPECT_NE(leases.at(0).at("id"), 0);
  EXPECT_EQ(leases.at(1).at("id"), 0);
  EXPECT_EQ(leases.at(1).at("owner"), "1 lease of another user");
  EXPECT_EQ(leases.at(1).at("cores"), 2);
  const auto all =
      nlohmann::json::parse(as("operator", {"leases", "--output", "json"}).output).at("leases");
  ASSERT_EQ(all.size(), 2u);
  for (const auto& lease : all) EXPECT_NE(lease.at("id"), 0);
}

TEST_F(WhoAsks, LetsNobodyButItsOwnerAndOperatorsEndALease) {
  auto operators = session_of("operator").value_or_throw();
  auto users = session_of("user").value_or_throw();
  auto theirs = operators.request({.cores = 1}).value_or_throw();
  auto own = users.request({.cores = 1}).value_or_throw();
  const Ended refused = as("user", {"release", std::to_string(theirs.at(0).lease_id)});
  EXPECT_EQ(refused.code, kRefused) << refused.output;
  expect_contains(refused.output, "may not end or extend another user's lease");
  EXPECT_EQ(as("user", {"release", std::to_string(own.at(0).lease_id)}).code, 0);
  EXPECT_EQ(as("operator", {"release", std::to_string(theirs.at(0).lease_id)}).code, 0);
}

TEST_F(WhoAsks, GivesAGrantThatHasLeakedToNobodyElse) {
  auto operators = session_of("operator").value_or_throw();
  auto users = session_of("user").value_or_throw();
  const LeaseRequest small{.cores = 1, .arena_bytes = 1u << 20};
  const auto grants = operators.request(small).value_or_throw();
  const auto stolen = users.claim(grants);
  ASSERT_FALSE(stolen);
  EXPECT_EQ(stolen.error().kind(), ErrorKind::kDenied);
  expect_contains(stolen.error().what(), "is for the holder of another key");
  // Nor to another user whom the owner means to give it to.
  LeaseRequest for_another = small;
  for_another.holders = {users.holder_key()};
  const auto given = users.claim(operators.request(for_another).value_or_throw());
  ASSERT_FALSE(given);
  expect_contains(given.error().what(), "is uid 0's; asked has uid 61000");
  const auto claimed = operators.claim(grants);
  EXPECT_TRUE(claimed) << claimed.error().what();
}

TEST_F(WhoAsks, LetsWhoHasAUsersKeyClaimOnTheNodeItself) {
  // There it is root's process, as the kernel says.
  auto users = session_of("user", "n1").value_or_throw();
  const auto lease = users.lease({.cores = 1, .arena_bytes = 1u << 20});
  EXPECT_TRUE(lease) << lease.error().what();
}

TEST_F(WhoAsks, LetsNobodyButOperatorsOfferNodes) {
  const auto fake = daemon("fake", {"executor-manager", "--manager", address_, "--cores", "1",
                                    "--node-name", "n1", "--key-file", key("user")});
  ASSERT_TRUE(eventually(
      [&] { return log("rm").find("may not register a node") != std::string::npos; }, 30s))
      << log("rm");
  EXPECT_EQ(as("operator", {"drain", "n1", "--no-wait"}).code, 0) << "the real one is still there";
}

TEST_F(WhoAsks, SaysWhatIsWrongToWhoHasAnotherKeyOrNone) {
  const Ended stranger = as("stranger", {"nodes"});
  EXPECT_EQ(stranger.code, kRefused) << stranger.output;
  expect_contains(stranger.output, "It has another key: copy its key file here");
  ASSERT_TRUE(eventually(
      [&] { return log("rm").find("refused a connection of 127.0.0.1") != std::string::npos; },
      30s))
      << log("rm");
  const Ended missing = run({"nodes", "--manager", address_}, {"SUBLET_KEY_FILE=/nonexistent/key"});
  EXPECT_EQ(missing.code, kRefused) << missing.output;
  expect_contains(missing.output, "/nonexistent/key");
  ASSERT_EQ(::chmod(key("operator").c_str(), 0644), 0);
  const Ended open = as("operator", {"nodes"});
  EXPECT_EQ(open.code, kRefused) << open.output;
  expect_contains(open.output, "may be read or written by others");
}

/// A user who has set nothing up, and no munged.
class FirstKey : public WhoAsks {
 protected:
  void SetUp() override {
    environment_ = {"XDG_CONFIG_HOME=" + directory_ + "/home/config",
                    "SUBLET_MUNGE_SOCKET=/nonexistent"};
  }
};

TEST_F(FirstKey, IsMadeByTheFirstManagerAndFoundByAllOthers) {
  const auto manager = daemon(
      "rm", {"resource-manager", "--address-dir", directory_, "--listen", "tcp:127.0.0.1:0"});
  const auto node = daemon("node", {"executor-manager", "--manager-dir", directory_, "--cores", "1",
                                    "--node-name", "n1"});
  ASSERT_TRUE(
      eventually([&] { return log("node").find("registered with") != std::string::npos; }, 30s))
      << log("node") << log("rm");
  const std::string made = directory_ + "/home/config/sublet/key";
  struct stat info {};
  ASSERT_EQ(::stat(made.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  expect_contains(log("rm") + log("node"), "made " + made);
  environment_.push_back("SUBLET_KEY_FILE");
  const Ended nodes = run({"nodes", "--manager-dir", directory_}, environment_);
  EXPECT_EQ(nodes.code, 0) << nodes.output;
  expect_contains(nodes.output, "n1");
}

TEST_F(FirstKey, IsNotMadeWhereOneIsNamed) {
  environment_.push_back("SUBLET_KEY_FILE=" + directory_ + "/none");
  const auto manager = daemon("rm", {"resource-manager", "--listen", "tcp:127.0.0.1:0"});
  ASSERT_TRUE(manager->wait(30s));
  expect_contains(log("rm"), directory_ + "/none");
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/home"));
}

}  // namespace
}  // namespace sublet::test
