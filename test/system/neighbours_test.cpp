// Managers among unlucky and hostile neighbours: a client leases and calls beside crowds at every
// socket of both managers. SUBLET_NEIGHBOURS_IDLE, _HOSTILE (connections at each socket) and
// _SECONDS make it as large as one likes; with SUBLET_NEIGHBOURS_LONGEST_MS no step of the client
// may take longer. SUBLET_NEIGHBOURS_SOCKET, a number from 1 on, leaves the others alone: the limit
// of descriptors may be too low for a large crowd at each.

#include "support/crowd.hpp"
#include "support/managers.hpp"
#include <base/descriptor_limit.hpp>
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

std::size_t number_or(const char* variable, std::size_t otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? otherwise : static_cast<std::size_t>(std::strtoull(text, nullptr, 10));
}

std::size_t descriptors_of(pid_t pid) {
  std::error_code ignored;
  const auto all =
      std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", ignored);
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// The most memory that it ever had.
std::size_t peak_mib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string word; status >> word;) {
    std::size_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib >> 10;
  }
  return 0;
}

/// A client that does all that clients do, and how long its steps take.
struct Client {
  explicit Client(SessionOptions its_options) : options(std::move(its_options)) {}

  SessionOptions options;
  std::size_t rounds = 0;
  std::chrono::nanoseconds longest{0};
  std::string slowest = "none";

  template <class Step>
  auto timed(const char* name, Step&& step) {
    const auto start = steady_clock::now();
    auto result = step();
    const auto took = steady_clock::now() - start;
    if (took > longest) {
      longest = took;
      slowest = name;
    }
    EXPECT_TRUE(result) << name << " in round " << rounds << ": " << result.error().what();
    return result;
  }

  void round() {
    ++rounds;
    auto session = timed("a session", [&] { return Session::open(options); });
    if (!session) return;
    LeaseRequest wanted;
    wanted.cores = 1;
    wanted.memory_bytes = 16u << 20;
    auto lease = timed("a lease", [&] { return session->lease(wanted); });
    if (!lease) return;
    using Echo = std::uint32_t(std::uint32_t);
    auto function =
        timed("a function", [&] { return lease->function<Echo>(CLIENT_FUNCTIONS, "echo"); });
    if (!function) return;
    for (std::uint32_t i = 0; i < 10; ++i) {
      const auto answer = timed("a call", [&] { return (*function)(i); });
      EXPECT_EQ(answer.value_or(~i), i);
    }
    (void)timed("the nodes", [&] { return session->nodes(); });
    (void)timed("the leases", [&] { return session->leases(); });
  }
};

class Neighbours : public testing::TestWithParam<bool> {
 protected:
  Neighbours() { base::raise_descriptor_limit(); }

  /// Every socket of both managers, or the one that is asked for.
  std::vector<std::pair<wire::Address, bool>> sockets() const {
    std::vector<std::pair<wire::Address, bool>> found;
    found.emplace_back(wire::Address::parse(managers_.address()).value_or_throw(), true);
    for (const NodeInfo& node : managers_.nodes()) {
      for (const std::string& address : node.addresses) {
        found.emplace_back(wire::Address::parse(address).value_or_throw(), false);
      }
    }
    if (const std::size_t only = number_or("SUBLET_NEIGHBOURS_SOCKET", 0)) {
      if (only > found.size()) return {};
      return {found[only - 1]};
    }
    return found;
  }

  TestManagers managers_{{TestNode{}}, GetParam()};
};

TEST_P(Neighbours, NoneKeepsAClientFromItsLeasesAndCalls) {
  const Crowd::Size size{number_or("SUBLET_NEIGHBOURS_IDLE", 400),
                         number_or("SUBLET_NEIGHBOURS_HOSTILE", 60)};
  const auto time = std::chrono::seconds(number_or("SUBLET_NEIGHBOURS_SECONDS", 2));
  const std::vector<pid_t> daemons = {managers_.resource_manager().pid(), managers_.node(0).pid()};
  const auto to_resource_manager = record_calls_to_resource_manager();
  const auto to_executor_manager = record_calls_to_executor_manager();
  Client client(managers_.session_options());
  client.round();
  managers_.wait_for_free_cores(4);
  std::vector<std::size_t> descriptors;
  descriptors.reserve(daemons.size());
  for (const pid_t daemon : daemons) descriptors.push_back(descriptors_of(daemon));

  std::size_t made = 0;
  std::size_t thrown_out = 0;
  {
    std::vector<std::unique_ptr<Crowd>> crowds;
    for (const auto& [address, is_resource_manager] : sockets()) {
      crowds.push_back(std::make_unique<Crowd>(
          address, size, is_resource_manager ? to_resource_manager : to_executor_manager));
    }
    if (crowds.empty()) GTEST_SKIP() << "there is no such socket";
    const auto all = crowds.size() * (size.idle + size.hostile);
    ASSERT_TRUE(eventually([&] {
      made = 0;
      for (const auto& crowd : crowds) made += crowd->made();
      return made >= all;
    })) << made;
    const auto deadline = steady_clock::now() + time;
    while (steady_clock::now() < deadline && !HasFailure()) client.round();
    made = thrown_out = 0;
    for (const auto& crowd : crowds) {
      made += crowd->made();
      thrown_out += crowd->thrown_out();
    }
  }
  const auto longest = std::chrono::duration_cast<std::chrono::milliseconds>(client.longest);
  std::cout << client.rounds << " rounds beside " << made << " connections, " << thrown_out
            << " of them thrown out; the longest step was " << client.slowest << " of "
            << longest.count() << " ms\n";
  for (std::size_t i = 0; i < daemons.size(); ++i) {
    std::cout << "daemon " << i << ": " << peak_mib(daemons[i]) << " MiB at most\n";
    EXPECT_LT(peak_mib(daemons[i]), 300u);
    EXPECT_TRUE(eventually([&] { return descriptors_of(daemons[i]) <= descriptors[i]; }))
        << descriptors_of(daemons[i]) << " descriptors are open where there were "
        << descriptors[i];
  }
  if (const auto most = number_or("SUBLET_NEIGHBOURS_LONGEST_MS", 0)) {
    EXPECT_LE(static_cast<std::size_t>(longest.count()), most) << client.slowest;
  }
  managers_.wait_for_free_cores(4);
  EXPECT_TRUE(eventually([&] { return managers_.executors().empty(); }));
}

INSTANTIATE_TEST_SUITE_P(OnThisNode, Neighbours, testing::Values(false));
INSTANTIATE_TEST_SUITE_P(ByTcp, Neighbours, testing::Values(true));

/// A resource manager that may have only a few descriptors more than it has.
TEST(FewDescriptors, AManagerThatHasNoneLeftServesAgain) {
  TestManagers managers;
  const pid_t manager = managers.resource_manager().pid();
  rlimit before{};
  ASSERT_EQ(::prlimit(manager, RLIMIT_NOFILE, nullptr, &before), 0);
  const rlimit few{descriptors_of(manager) + 8, before.rlim_max};
  ASSERT_EQ(::prlimit(manager, RLIMIT_NOFILE, &few, nullptr), 0);
  {
    const auto address = wire::Address::parse(managers.address()).value_or_throw();
    Crowd crowd(address, {100, 0}, record_calls_to_resource_manager());
    ASSERT_TRUE(eventually([&] { return crowd.made() == 100; }));
    Client client(managers.session_options());
    client.round();
  }
  EXPECT_NE(managers.output().find("accepting a connection"), std::string::npos);
  Client client(managers.session_options());
  client.round();
  managers.wait_for_free_cores(4);
}

TEST(DyingNodes, CostNoLeaseWhereAnotherNodeHasRoom) {
  TestManagers managers({TestNode{.name = "n1"}, TestNode{.name = "n2"}});
  auto session = Session::open(managers.session_options("client")).value_or_throw();
  for (int round = 0; round < 5; ++round) {
    managers.node(0).signal(SIGKILL);
    const auto lease = session.lease();
    EXPECT_TRUE(lease) << lease.error().what();
    managers.restart_node(0);
    managers.wait_for_nodes(2);
  }
}

}  // namespace
}  // namespace sublet::test
