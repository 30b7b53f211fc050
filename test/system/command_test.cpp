// The command as people and scripts meet it.

#include "command_fixture.hpp"
#include "support/managers.hpp"
#include "support/private_files.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

TEST_F(CommandTest, ExplainsItselfAndItsExitCodes) {
  const Ended help = run({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* part :
       {"resource-manager", "executor-manager", "nodes", "leases", "top", "config", "quota",
        "drain", "release", "forget", "functions", "bench", "exit codes", "no manager answered"}) {
    expect_contains(help.output, part);
  }
  EXPECT_EQ(help.output.find("private-manager"), std::string::npos);
  EXPECT_EQ(run({}).code, 2);
  expect_contains(run({"--version"}).output, "sublet ");
  for (const char* command :
       {"resource-manager", "executor-manager", "private-manager", "nodes", "leases", "lease",
        "quota", "drain", "release", "forget", "functions", "slurm", "bench"}) {
    const Ended each = run({command, "--help"});
    EXPECT_EQ(each.code, 0) << command;
    expect_contains(each.output, std::string("sage: sublet ") + command);
  }
}

TEST_F(CommandTest, ManagersBenchmarkSaysWhatItMeasured) {
  const Ended table = run({"bench", "manager", "--nodes", "3,20", "--seconds", "1"});
  EXPECT_EQ(table.code, 0) << table.output;
  expect_contains(table.output, "PAIRS/s");
  const Ended json = run({"bench", "manager", "--nodes", "5", "--seconds", "1", "--json", "-"});
  EXPECT_EQ(json.code, 0) << json.output;
  for (const char* key : {"\"nodes\": 5", "pairs_per_s", "p99_us", "rss_bytes"}) {
    expect_contains(json.output, key);
  }
  for (const char* nodes : {"0", "a", "1,,2", "70000", "-1", ""}) {
    const Ended refused = run({"bench", "manager", "--nodes", nodes});
    EXPECT_EQ(refused.code, 2) << nodes;
    expect_contains(refused.output, "--nodes");
  }
}

TEST_F(CommandTest, ConnectionsBenchmarkSaysWhatItMeasured) {
  const Ended json = run({"bench", "connection", "--rounds", "3", "--json", "-"});
  EXPECT_EQ(json.code, 0) << json.output;
  for (const char* part : {"\"proof\": \"none\"", "\"proof\": \"key\"", "added_p50_us"}) {
    expect_contains(json.output, part);
  }
  EXPECT_EQ(run({"bench", "connection", "--rounds", "0"}).code, 2);
}

TEST_F(CommandTest, WrongUseIsToldAndCodeTwo) {
  EXPECT_EQ(run({"frobnicate"}).code, 2);
  EXPECT_EQ(run({"nodes", "--frobnicate"}).code, 2);
  EXPECT_EQ(run({"nodes", "--output", "xml"}).code, 2);
  EXPECT_EQ(run({"nodes", "--manager", "nowhere"}).code, 2);
  EXPECT_EQ(run({"functions"}).code, 2);
  EXPECT_EQ(run({"slurm"}).code, 2);
  EXPECT_EQ(run({"slurm", "template", "frobnicate"}).code, 2);
  EXPECT_EQ(run({"executor-manager", "--memory", "much"}).code, 2);
  EXPECT_EQ(run({"executor-manager", "--oversubscribe", "0"}).code, 2);
  EXPECT_EQ(run({"executor-manager", "--cpuset", "fish"}).code, 2);
  EXPECT_EQ(run({"resource-manager", "--listen", "somewhere"}).code, 2);
  EXPECT_EQ(run({"private-manager", "--lifeline-fd", "99", "--address-fd", "98"}).code, 2);
}

TEST_F(CommandTest, WhatWasTypedIsNamedWhenItIsWrong) {
  const auto refused = [this](const std::vector<std::string>& words, const std::string& part) {
    const Ended ended = run(words);
    EXPECT_EQ(ended.code, 2) << words.front();
    expect_contains(ended.output, part);
  };
  refused({"executor-manager", "--cores", "-1"}, "--cores is '-1'");
  refused({"nodes", "--timeout-ms", "-1"}, "--timeout-ms is '-1'");
  refused({"functions"}, "LIBRARY is missing");
  refused({"functions", SYSTEM_SAMPLE, "twice"}, "what is 'twice'?");
  refused({"drain"}, "NODE is missing");
  refused({"forget"}, "NODE is missing");
  refused({"release"}, "LEASE is missing");
  refused({"release", "17x"}, "LEASE is '17x'; it must be a number");
  refused({"nodes", "n1"}, "what is 'n1'?");
  refused({"bench", "speed"}, "sublet bench: 'speed' is none of");
  refused({"executor-manager", "--config", directory_},
          directory_ + "' cannot be read: it is a dir");
  const std::string file = directory_ + "/manager.conf";
  std::ofstream(file) << "[executor-manger]\ncores = 1\n";
  refused({"executor-manager", "--config", file}, "[executor-manger]");
  refused({"resource-manager", "--config", file}, "[executor-manger]");
  refused({"executor-manager", "--cpuset", "0-60000"}, "are not there or may not be used here");
  if (::geteuid() == 0) {
    refused({"executor-manager", "--executor-user", "root"}, "functions would have all of root's");
  }
}

TEST_F(CommandTest, AnUnknownLogLevelIsToldOnceByEveryCommand) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"slurm", "template"}, {"nodes"}, {"doctor"}}) {
    const Ended ended = run(words, {"SUBLET_LOG=loud"});
    expect_contains(ended.output, "SUBLET_LOG is 'loud'; it can be trace, debug, info");
    EXPECT_EQ(ended.output.find("'loud'"), ended.output.rfind("'loud'")) << ended.output;
  }
}

TEST_F(CommandTest, AnAddressFileIsWrittenThroughNoLink) {
  const std::string address_file = directory_ + "/address";
  std::ofstream(directory_ + "/precious") << "untouched";
  std::filesystem::create_symlink("precious", address_file);
  ChildProcess::Options options;
  options.environment = {"XDG_RUNTIME_DIR=" + directory_};
  options.output = directory_ + "/daemon.log";
  ChildProcess daemon({built_program("sublet"), "resource-manager", "--listen",
                       "unix:" + directory_ + "/rm.sock", "--address-file", address_file},
                      options);
  ASSERT_TRUE(eventually([&] { return !fs::is_symlink(address_file); }));
  std::ifstream file(address_file);
  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, "unix:" + directory_ + "/rm.sock");
  daemon.signal(SIGTERM);
  ASSERT_TRUE(daemon.wait(10s));
  EXPECT_FALSE(fs::exists(address_file));
  std::string content;
  std::getline(std::ifstream(directory_ + "/precious"), content);
  EXPECT_EQ(content, "untouched");
}

TEST_F(CommandTest, AManagerThatIsNotThereIsCodeThree) {
  const Ended ended = run({"nodes"});
  EXPECT_EQ(ended.code, 3);
  expect_contains(ended.output, directory_ + "/sublet/manager.sock");
  EXPECT_EQ(run({"leases", "--manager", "unix:" + directory_ + "/none"}).code, 3);
  EXPECT_EQ(run({"drain", "n1"}).code, 3);
  EXPECT_EQ(run({"drain", "n1", "--cancel"}).code, 3);
  EXPECT_EQ(run({"release", "17"}).code, 3);
  EXPECT_EQ(run({"forget", "n1"}).code, 3);
  EXPECT_EQ(run({"quota"}).code, 3);
  EXPECT_EQ(run({"lease", "--", "true"}).code, 3);
}

TEST_F(CommandTest, ListsNodesAndLeases) {
  TestManagers managers;
  const Ended table = run({"nodes"}, managers.environment());
  EXPECT_EQ(table.code, 0);
  expect_contains(table.output, "NODE");
  expect_contains(table.output, "n1");
  const Ended json = run({"nodes", "--output", "json"}, managers.environment());
  EXPECT_EQ(json.code, 0);
  expect_contains(json.output, "\"free_cores\": 4");
  expect_contains(json.output, "\"state\": \"up\"");
  const Ended leases = run({"leases", "--all", "--output", "json"}, managers.environment());
  EXPECT_EQ(leases.code, 0);
  expect_contains(leases.output, "\"leases\": []");
}

TEST_F(CommandTest, ListsTheFunctionsOfALibrary) {
  const Ended table = run({"functions", SYSTEM_SAMPLE});
  EXPECT_EQ(table.code, 0);
  expect_contains(table.output, "twice");
  const Ended json = run({"functions", SYSTEM_SAMPLE, "--output", "json"});
  expect_contains(json.output, "\"form\": \"typed\"");
  expect_contains(json.output, "\"input_size\": 8");
  EXPECT_EQ(run({"functions", "/etc/passwd"}).code, 1);
  EXPECT_EQ(run({"functions", "/no/such/file"}).code, 1);
}

TEST_F(CommandTest, PrintsBatchScripts) {
  const Ended list = run({"slurm", "template"});
  EXPECT_EQ(list.code, 0);
  expect_contains(list.output, "executor-manager");
  expect_contains(list.output, "preemptable partition");
  const Ended one = run({"slurm", "template", "executor-manager"});
  EXPECT_EQ(one.code, 0);
  expect_contains(one.output, "#SBATCH --partition=harvest");
  expect_contains(run({"slurm", "template", "frobnicate"}).output, "there are executor-manager");
}

TEST_F(CommandTest, ASecondResourceManagerAtTheSameAddressSaysWhoIsThere) {
  TestManagers managers;
  const Ended second =
      run({"resource-manager", "--listen", managers.address()}, managers.environment());
  EXPECT_EQ(second.code, 2);
  expect_contains(second.output, "(pid " + std::to_string(managers.resource_manager().pid()) +
                                     ") already listens");
}

TEST_F(CommandTest, ListsTheRdmaDevicesThatThereAre) {
  const Ended json = run({"devices", "--output", "json"});
  EXPECT_EQ(json.code, 0);
  const auto parsed = nlohmann::json::parse(json.output, nullptr, false);
  ASSERT_TRUE(parsed.is_object()) << json.output;
  ASSERT_TRUE(parsed["devices"].is_array()) << json.output;
  const Ended table = run({"devices"});
  EXPECT_EQ(table.code, 0);
  expect_contains(table.output, parsed["devices"].empty() ? "no RDMA device" : "INLINE");
}

TEST_F(CommandTest, DevicesThatAreNotThereAreRefusedByName) {
  for (const std::string command : {"devices", "executor-manager"}) {
    const Ended unknown = run({command, "--device", "no_such_device"});
    EXPECT_EQ(unknown.code, 2) << command;
    expect_contains(unknown.output, "there is no device 'no_such_device' on this node; there ");
    const Ended missing = run({command, "--device-database", directory_ + "/none.json"});
    EXPECT_EQ(missing.code, 2) << command;
    expect_contains(missing.output, directory_ + "/none.json': No such file");
    std::ofstream(directory_ + "/devices.json") << R"({"devices":[{"name":"rxe0"}]})";
    const Ended lacking = run({command, "--device-database", directory_ + "/devices.json"});
    EXPECT_EQ(lacking.code, 2) << command;
    expect_contains(lacking.output, "device 1 has no name or no ip_address");
  }
}

TEST_F(CommandTest, TheDoctorExplainsEachTransportAndTheChoice) {
  const Ended json = run({"doctor", "--output", "json"});
  const auto parsed = nlohmann::json::parse(json.output, nullptr, false);
  ASSERT_TRUE(parsed.is_object()) << json.output;
  std::map<std::string, nlohmann::json> findings;
  for (const auto& finding : parsed["findings"]) findings[finding["what"]] = finding;
  EXPECT_EQ(findings["transport shm"]["good"], true) << json.output;
  EXPECT_EQ(findings["transport tcp"]["good"], true) << json.output;
  EXPECT_TRUE(findings.contains("transport fabric") && findings.contains("transport verbs"));
  expect_contains(findings["calls on this node"]["text"], "shm");
  // Each choice with the reasons for and against.
  expect_contains(findings["calls to another node"]["text"], "not shm: the executor is on another");
  if (findings["transport verbs"]["good"] == false) {
    expect_contains(findings["calls to another node"]["text"], "not verbs: ");
  }
  EXPECT_EQ(findings["resource manager"]["good"], false);
  expect_contains(findings["resource manager"]["text"], directory_);

  const Ended told = run({"doctor"}, {"SUBLET_TRANSPORT=carrier-pigeon"});
  expect_contains(told.output, "option 'transport' is 'carrier-pigeon'");
}

TEST_F(CommandTest, TheDoctorNamesHowMpiRequestsAreCompleted) {
  std::map<std::string, std::string> expected{{"openmpi", "progress"}, {"mpich", "poll"}};
  std::istringstream kinds(TEST_MPIS);
  for (std::string kind; kinds >> kind;) {
    for (const auto& [wanted, path] :
         {std::pair<std::string, std::string>{"", expected[kind]}, {"helper", "helper"}}) {
      const Ended ended = run({"doctor"}, {"SUBLET_MPI_REQUESTS=" + wanted});
      if (!path.empty()) {
        expect_contains(ended.output, "ok    MPI progress path, " + kind + ": " + path + " (");
      }
    }
    const Ended wrong = run({"doctor"}, {"SUBLET_MPI_REQUESTS=pigeon"});
    EXPECT_TRUE(wrong.code == 6 || wrong.code == 7) << wrong.code;
    expect_contains(wrong.output, "note  MPI progress path, " + kind + ": none (");
    expect_contains(wrong.output, "SUBLET_MPI_REQUESTS is 'pigeon'; it may be progress");
  }
}

class PrivateManagerTest : public CommandTest {
 protected:
  /// Starts one and reads its address; returns the end of the lifeline.
  void start() {
    std::array<int, 2> lifeline{};
    std::array<int, 2> address{};
    ASSERT_EQ(::pipe2(lifeline.data(), O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(address.data(), O_CLOEXEC), 0);
    ChildProcess::Options options;
    options.environment = {"XDG_RUNTIME_DIR=" + directory_};
    options.output = directory_ + "/private.log";
    // Above what the pipes themselves may have.
    options.fds = {{lifeline[0], 20}, {address[1], 21}};
    process_ = std::make_unique<ChildProcess>(
        std::vector<std::string>{built_program("sublet"), "private-manager", "--lifeline-fd", "20",
                                 "--address-fd", "21", "--oversubscribe", "2"},
        options);
    ::close(lifeline[0]);
    ::close(address[1]);
    lifeline_ = lifeline[1];
    std::array<char, 256> text{};
    const ssize_t size = ::read(address[0], text.data(), text.size());
    ::close(address[0]);
    ASSERT_GT(size, 0);
    address_.assign(text.data(), static_cast<std::size_t>(size));
    ASSERT_EQ(address_.back(), '\n');
    address_.pop_back();
  }
  ~PrivateManagerTest() override {
    if (lifeline_ >= 0) ::close(lifeline_);
  }

  int lifeline_ = -1;
  std::string address_;
  std::unique_ptr<ChildProcess> process_;
};

TEST_F(PrivateManagerTest, IsReadyWhenItHasWrittenItsAddressAndEndsWithItsLifeline) {
  start();
  const Ended nodes = run({"nodes", "--manager", address_, "--output", "json"});
  EXPECT_EQ(nodes.code, 0);
  expect_contains(nodes.output, "\"state\": \"up\"");
  ::close(std::exchange(lifeline_, -1));
  const auto status = process_->wait(30s);
  ASSERT_TRUE(status);
  EXPECT_TRUE(WIFEXITED(*status) && WEXITSTATUS(*status) == 0);
  EXPECT_TRUE(private_files(directory_).empty());
}

TEST_F(PrivateManagerTest, RefusesToBeDrained) {
  start();
  const Ended nodes = run({"nodes", "--manager", address_, "--output", "json"});
  const auto parsed = nlohmann::json::parse(nodes.output, nullptr, false);
  ASSERT_TRUE(parsed.is_object()) << nodes.output;
  const std::string node = parsed["nodes"][0]["name"];
  const Ended drained = run({"drain", node, "--manager", address_});
  EXPECT_EQ(drained.code, 1);
  expect_contains(drained.output, "it belongs to a private manager");
  expect_contains(run({"nodes", "--manager", address_}).output, " up ");
}

TEST_F(PrivateManagerTest, LeavesNothingThatTheNextOneDoesNotRemove) {
  start();
  process_->signal(SIGKILL);
  ASSERT_TRUE(process_->wait(30s));
  ::close(std::exchange(lifeline_, -1));
  EXPECT_FALSE(private_files(directory_).empty());
  start();
  EXPECT_EQ(private_files(directory_).size(), 1u);
}

}  // namespace
}  // namespace sublet::test
