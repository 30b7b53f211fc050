// Leases with GPUs, through real managers and executors. The GPUs are those of a list: nothing here
// needs one, since what a lease gives is their names in the environment of its functions.

#include "command_fixture.hpp"
#include "functions/gpu_view.hpp"
#include "support/eventually.hpp"
#include "support/managers.hpp"
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <future>
#include <set>
#include <string>
#include <vector>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr const char* kFirst = "GPU-11111111-aaaa-bbbb-cccc-000000000001";
constexpr const char* kSecond = "GPU-22222222-aaaa-bbbb-cccc-000000000002";
constexpr const char* kThird = "GPU-4f1a0c2d3e4b5a69";  // AMD's

LeaseRequest lease_with(std::uint32_t gpus, std::uint32_t workers = 1) {
  LeaseRequest request;
  request.cores = workers;
  request.gpus_per_worker = gpus;
  request.memory_bytes = std::uint64_t{64} << 20;
  request.arena_bytes = std::uint64_t{16} << 20;
  request.hot_timeout = 0ms;
  return request;
}

/// What is visible, of both makers: "CUDA|ROCR".
std::string view_of(Lease& lease) {
  auto look =
      lease.function<GpuView(std::uint8_t)>(GPU_VIEW_FUNCTIONS, "look_at_gpus").value_or_throw();
  const GpuView view = look(0).value_or_throw();
  return std::string(view.cuda.data()) + "|" + view.rocr.data();
}

class Gpus : public CommandTest {
 protected:
  /// One node of four workers and three GPUs, as an operator lists them.
  Gpus() {
    std::ofstream(list()) << kFirst << ", 0000:07:00.0, NVIDIA A100-SXM4-40GB, 40960 MiB\n"
                          << kThird << "\n"
                          << kSecond << "\n";
  }
  [[nodiscard]] std::string list() const { return directory_ + "/gpus"; }
  /// A variable of the test's own surroundings must not hide them.
  [[nodiscard]] TestNode node() const {
    return {.name = "n1",
            .more = {"--gpus", list()},
            .before = {"/usr/bin/env", "-u", "CUDA_VISIBLE_DEVICES", "-u", "ROCR_VISIBLE_DEVICES",
                       "-u", "SLURM_JOB_GPUS", "-u", "SLURM_STEP_GPUS"}};
  }
  static std::uint32_t free_gpus(const TestManagers& managers) {
    return managers.nodes().at(0).free_gpus;
  }
};

TEST_F(Gpus, OfALeaseAreWhatItsFunctionsFindAndNoOthers) {
  const TestManagers managers({node()});
  const auto nodes = managers.nodes();
  ASSERT_EQ(nodes.at(0).gpus.size(), 3u);
  EXPECT_EQ(nodes[0].gpus[0].uuid, kFirst);
  EXPECT_EQ(nodes[0].gpus[0].name, "NVIDIA A100-SXM4-40GB");
  EXPECT_EQ(nodes[0].gpus[0].memory_bytes, std::uint64_t{40960} << 20);
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto without = session.lease(lease_with(0)).value_or_throw();
  EXPECT_EQ(view_of(without), "|") << "set, and empty";
  EXPECT_TRUE(without.worker(0).gpus.empty());
  EXPECT_EQ(free_gpus(managers), 3u);
  {
    auto all = session.lease(lease_with(3)).value_or_throw();
    EXPECT_EQ(view_of(all), std::string(kFirst) + "," + kSecond + "|" + kThird);
    EXPECT_EQ(free_gpus(managers), 0u);
    EXPECT_EQ(managers.leases().at(1).gpus, 3u);
  }
  ASSERT_TRUE(eventually([&] { return free_gpus(managers) == 3; }));
  // Workers of one lease on a node are threads of one process: it sees the GPUs of all.
  auto two = session.lease(lease_with(1, 2)).value_or_throw();
  EXPECT_EQ(view_of(two), std::string(kFirst) + "," + kSecond + "|");
  EXPECT_EQ(two.worker(0).gpus, std::vector<std::string>{kFirst});
  EXPECT_EQ(two.worker(1).gpus, std::vector<std::string>{kSecond});
}

TEST_F(Gpus, AreNeverInTwoLeases) {
  const TestManagers managers({node()});
  auto session = Session::open(managers.session_options()).value_or_throw();
  std::vector<Lease> leases;
  std::set<std::string> seen;
  for (int i = 0; i < 3; ++i) {
    leases.push_back(session.lease(lease_with(1)).value_or_throw());
    EXPECT_TRUE(seen.insert(view_of(leases.back())).second) << view_of(leases.back());
  }
  EXPECT_EQ(seen, (std::set<std::string>{std::string(kFirst) + "|", std::string(kSecond) + "|",
                                         std::string("|") + kThird}));
  const auto refused = session.lease(lease_with(1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kOverloaded);
  expect_contains(refused.error().what(), "asked for 1 worker of 1 core and 1 GPU each");
  expect_contains(refused.error().what(), "0 GPUs");
  const auto never = session.lease(lease_with(4));
  ASSERT_FALSE(never);
  expect_contains(never.error().what(), "no node has so many: n1 has the most, 3");
  // One that waits gets what comes free.
  LeaseRequest patient = lease_with(1);
  patient.wait = 60s;
  auto waiting = std::async(std::launch::async, [&] { return session.lease(patient); });
  ASSERT_TRUE(eventually([&] {
    for (const LeaseInfo& info : managers.leases()) {
      if (info.state == "waiting") return info.gpus == 1;
    }
    return false;
  }));
  const std::string given_back = view_of(leases[1]);
  leases[1].release();
  auto served = waiting.get();
  ASSERT_TRUE(served) << served.error().what();
  EXPECT_EQ(view_of(*served), given_back);
}

TEST_F(Gpus, StayWithTheLeaseWhenItsExecutorDies) {
  const TestManagers managers({node()});
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto other = session.lease(lease_with(1)).value_or_throw();
  auto lease = session.lease(lease_with(1)).value_or_throw();
  const std::string before = view_of(lease);
  auto crash =
      lease.function<std::uint8_t(std::uint8_t)>(GPU_VIEW_FUNCTIONS, "crash").value_or_throw();
  EXPECT_FALSE(crash(0));
  EXPECT_EQ(view_of(lease), before);
  EXPECT_NE(view_of(other), before);
}

TEST_F(Gpus, OfALeaseAreKnownToAManagerThatReturnsAndPaidFor) {
  TestManagers managers({node()}, false, true);
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto lease = session.lease(lease_with(2)).value_or_throw();
  const std::string before = view_of(lease);
  managers.resource_manager().signal(SIGKILL);
  ASSERT_TRUE(managers.resource_manager().wait(30s));
  EXPECT_EQ(view_of(lease), before) << "calls go on";
  managers.start_resource_manager();
  managers.wait_for_nodes(1);
  EXPECT_EQ(free_gpus(managers), 1u);
  auto again = Session::open(managers.session_options()).value_or_throw();
  EXPECT_FALSE(again.lease(lease_with(2))) << "they are taken";
  EXPECT_EQ(view_of(lease), before);
  lease.release();
  ASSERT_TRUE(eventually([&] { return free_gpus(managers) == 3; }));
  const auto ledger = [&](std::vector<std::string> words) {
    words.insert(words.begin(), "ledger");
    words.insert(words.end(), {"--manager", managers.address()});
    return run(words);
  };
  const Ended listed = ledger({"--output", "json"});
  ASSERT_EQ(listed.code, 0) << listed.output;
  const json rows = json::parse(listed.output).at("ledger");
  ASSERT_EQ(rows.size(), 1u) << listed.output;
  EXPECT_EQ(rows[0].at("gpus"), 2);
  EXPECT_GT(rows[0].at("core_ms"), 0);
  EXPECT_EQ(rows[0].at("gpu_ms").get<std::uint64_t>(),
            2 * rows[0].at("core_ms").get<std::uint64_t>())
      << "of one core and two GPUs";
  const Ended verified = ledger({"verify"});
  EXPECT_EQ(verified.code, 0) << verified.output;
}

TEST_F(Gpus, AreShownByTheCommands) {
  const TestManagers managers({node()});
  const auto command = [&](std::vector<std::string> words) {
    words.insert(words.begin() + 1, {"--manager", managers.address()});
    return run(words).output;
  };
  const Ended kept =
      run({"lease", "--manager", managers.address(), "--gpus", "2", "--", built_program("sublet"),
           "leases", "--manager", managers.address(), "--output", "json"});
  ASSERT_EQ(kept.code, 0) << kept.output;
  EXPECT_EQ(json::parse(kept.output).at("leases").at(0).at("gpus"), 2) << kept.output;
  expect_contains(command({"nodes"}), "GPUS  FREE");
  const json shown = json::parse(command({"nodes", "--output", "json"})).at("nodes").at(0);
  EXPECT_EQ(shown.at("gpus").at(2).at("uuid"), kThird);
  EXPECT_EQ(shown.at("gpus").size(), 3u);
  expect_contains(command({"lease", "--gpus", "65"}),
                  "the number of GPUs per worker is 65; allowed are 0 to 64");
  expect_contains(command({"ledger"}), "ledger");
}

TEST_F(Gpus, OfAListThatIsWrongKeepTheNodeFromStarting) {
  std::ofstream(list()) << kFirst << "\nGPU 2\n";
  const Ended ended =
      run({"executor-manager", "--manager", "unix:" + directory_ + "/none", "--gpus", list()});
  EXPECT_NE(ended.code, 0);
  expect_contains(ended.output, "the list of GPUs '" + list() + "', line 2: 'GPU 2' is no UUID");
}

TEST_F(Gpus, OfTwoPrivateManagersAreDifferentOnes) {
  ::setenv("XDG_RUNTIME_DIR", directory_.c_str(), 1);
  ::setenv("XDG_CONFIG_HOME", directory_.c_str(), 1);
  ::setenv("SUBLET_PRIVATE_MANAGER_GPUS", list().c_str(), 1);
  for (const char* name : {"SUBLET_MANAGER", "SUBLET_MANAGER_DIR", "CUDA_VISIBLE_DEVICES",
                           "ROCR_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS"}) {
    ::unsetenv(name);
  }
  // Two managers, as two jobs have them: they differ in what they offer.
  SessionOptions options;
  auto first = Session::open(options).value_or_throw();
  options.private_oversubscribe = 2;
  auto second = Session::open(options).value_or_throw();
  ASSERT_TRUE(first.manager_is_private());
  ASSERT_NE(first.manager_address(), second.manager_address());
  auto one = first.lease(lease_with(1)).value_or_throw();
  auto other = second.lease(lease_with(2)).value_or_throw();
  EXPECT_EQ(view_of(one), std::string(kFirst) + "|");
  EXPECT_EQ(view_of(other), std::string(kSecond) + "|" + kThird);
  ::unsetenv("SUBLET_PRIVATE_MANAGER_GPUS");
}

}  // namespace
}  // namespace sublet::test
