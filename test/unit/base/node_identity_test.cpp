#include "support/temp_directory.hpp"
#include <base/node_identity.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>

namespace sublet::base {
namespace {

/// Sets or clears a variable and puts back what was there.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) {
      had_value_ = true;
      before_ = before;
    }
    value == nullptr ? ::unsetenv(name) : ::setenv(name, value, 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() { had_value_ ? ::setenv(name_, before_.c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  bool had_value_ = false;
  std::string before_;
};

std::string host_name() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return host.data();
}

TEST(NodeIdentity, IsSlurmsNameOfTheNodeWhereThereIsOne) {
  const Environment none("SUBLET_NODE_NAME", nullptr);
  const Environment slurm("SLURMD_NODENAME", "c7");
  EXPECT_EQ(node_identity().name, "c7");
  const Environment ours("SUBLET_NODE_NAME", "mine");
  EXPECT_EQ(node_identity().name, "mine");
}

TEST(NodeIdentity, IsTheHostNameUnlessConfigured) {
  const Environment none("SUBLET_NODE_NAME", nullptr);
  const Environment no_slurm("SLURMD_NODENAME", nullptr);
  EXPECT_EQ(node_identity().name, host_name());
  const Environment empty("SUBLET_NODE_NAME", "");
  EXPECT_EQ(node_identity().name, host_name());
}

TEST(NodeIdentity, TakesTheConfiguredNameBeforeTheEnvironments) {
  const Environment named("SUBLET_NODE_NAME", "virtual-3");
  EXPECT_EQ(node_identity().name, "virtual-3");
  EXPECT_EQ(node_identity("virtual-4").name, "virtual-4");
}

TEST(NodeIdentity, TellsVirtualNodesOfOneMachineApart) {
  EXPECT_EQ(node_identity("a").id, node_identity("a").id);
  EXPECT_NE(node_identity("a").id, node_identity("b").id);
}

TEST(NodeIdentity, TellsWhoReachesWhomOnOneMachine) {
  EXPECT_TRUE(on_one_machine("boot.1.h/a", "boot.1.g/b"));
  EXPECT_FALSE(on_one_machine("boot.1.h/a", "boot.2.h/a")) << "another network namespace";
  EXPECT_FALSE(on_one_machine("boot.1.h/a", "other.1.h/a"));
  EXPECT_FALSE(on_one_machine(".1.h/a", ".1.h/b")) << "machines that have no boot id";
}

TEST(NodeIdentity, TakesSlurmsNameAndTheHostsForOneNode) {
  const Environment none("SUBLET_NODE_NAME", nullptr);
  NodeIdentity slurms;
  {
    const Environment slurm("SLURMD_NODENAME", "c1");
    slurms = node_identity();
  }
  const Environment login("SLURMD_NODENAME", nullptr);
  const NodeIdentity host = node_identity();
  EXPECT_TRUE(is_same_node(host, slurms.name, slurms.id));
  EXPECT_TRUE(is_same_node(slurms, host.name, host.id));
  EXPECT_TRUE(is_same_node(host, host.name, host.id));
  // Virtual nodes: of Slurm's, and those that somebody names.
  const std::string other = slurms.id.substr(0, slurms.id.find('/')) + "/c2";
  EXPECT_FALSE(is_same_node(slurms, "c2", other));
  EXPECT_FALSE(is_same_node(node_identity("virtual"), host.name, host.id));
  EXPECT_FALSE(is_same_node(host, host.name, "other.1.h/" + host.name));
  // A container beside this one, with a host name of its own.
  const std::string network = host.id.substr(0, host.id.find('.', host.id.find('.') + 1) + 1);
  EXPECT_FALSE(is_same_node(host, "c3", network + "c3/c3"));
}

TEST(NodeIdentity, HoldsTheBootId) {
  std::string boot_id;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot_id);
  ASSERT_FALSE(boot_id.empty());
  const std::string id = node_identity("a").id;
  EXPECT_TRUE(id.starts_with(boot_id + ".")) << id;
  EXPECT_TRUE(id.ends_with("/a")) << id;
}

TEST(NodeIdentity, NamesTheUser) {
  const std::string text = user_at_node(node_identity("n7"));
  EXPECT_GT(text.size(), std::string("@n7").size());
  EXPECT_EQ(text.substr(text.size() - 3), "@n7");
}

TEST(RuntimeDirectory, LiesInTheUsersOwn) {
  const test::TempDirectory own;
  const Environment set("XDG_RUNTIME_DIR", own.path().c_str());
  EXPECT_EQ(runtime_directory(), own.path() + "/sublet");
}

TEST(RuntimeDirectory, IgnoresOneThatIsNotThereOrAnotherUsers) {
  const std::string fallback = "/tmp/sublet-" + std::to_string(::getuid());
  for (const char* other : {"/nowhere/at/all", "/dev/null"}) {
    const Environment set("XDG_RUNTIME_DIR", other);
    EXPECT_EQ(runtime_directory(), fallback) << other;
  }
  if (::geteuid() == 0) return;
  const Environment roots("XDG_RUNTIME_DIR", "/tmp");
  EXPECT_EQ(runtime_directory(), fallback);
}

TEST(RuntimeDirectory, IgnoresARelativeDirectory) {
  const std::string fallback = "/tmp/sublet-" + std::to_string(::getuid());
  const Environment relative("XDG_RUNTIME_DIR", "run");
  EXPECT_EQ(runtime_directory(), fallback);
  const Environment unset("XDG_RUNTIME_DIR", nullptr);
  EXPECT_EQ(runtime_directory(), fallback);
}

}  // namespace
}  // namespace sublet::base
