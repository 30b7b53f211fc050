// `sublet lease` for scripts: keeps a lease, or runs a program that uses it.

#include "leases_fixture.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;

TEST_F(Leases, AProgramUsesTheCoresThatItWasLeased) {
  const Ended ended = sublet({"lease", "--cores", "3", "--", "/bin/sh", "-c",
                              managers_.free_cores() == 4 ? user(3, 5, 7) : "exit 99"});
  EXPECT_EQ(ended.code, 7) << ended.output;
  expect_contains(ended.output, "3 workers, works");
  managers_.wait_for_free_cores(4);
  EXPECT_EQ(managers_.leases(true).size(), 1u) << "the program got a lease of its own";
}

TEST_F(Leases, ProgramsUseOneLeaseOneAfterTheOther) {
  const Ended ended = sublet({"lease", "--cores", "4", "--", "/bin/sh", "-c",
                              user(4, 5) + " && " + user(1, 5) + " && " + user(4, 5, 3)});
  EXPECT_EQ(ended.code, 3) << ended.output;
  EXPECT_EQ(managers_.leases(true).size(), 1u);
}

TEST_F(Leases, ProgramsShareItsPartsAtOneTime) {
  const std::string one = user(2, 300, 0, 20'000);
  const Ended ended =
      sublet({"lease", "--cores", "2", "--parts", "2", "--", "/bin/sh", "-c",
              one + " & a=$!; " + one + " & b=$!; " + one + " && wait $a && wait $b && exit 5"});
  EXPECT_EQ(ended.code, 5) << ended.output;
}

TEST_F(Leases, AProgramThatAsksForMoreIsTold) {
  const Ended ended = sublet({"lease", "--cores", "2", "--", "/bin/sh", "-c", user(3, 5)});
  EXPECT_EQ(ended.code, 92) << ended.output;
  expect_contains(ended.output, "asked for 1 part of 3 workers with 1 core of lease");
  expect_contains(ended.output, "which has 1 part of 2 workers");
}

TEST_F(Leases, IsKeptUntilItIsToldToEnd) {
  auto keeper = start({"--cores", "2", "--output", "json"});
  const json lease = kept();
  EXPECT_EQ(lease["cores"], 2);
  EXPECT_EQ(managers_.free_cores(), 2u);
  const std::string file = lease["file"];
  struct stat info {};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  auto with_it = environment();
  with_it.back() = "SUBLET_LEASE=" + file;
  const Ended ended =
      run_program({built_program("lease_user"), CLIENT_FUNCTIONS, "2", "5", "0"}, with_it);
  EXPECT_EQ(ended.code, 0) << ended.output;
  expect_contains(ended.output, "lease " + std::to_string(lease["lease"].get<std::uint64_t>()));
  keeper.signal(SIGTERM);
  EXPECT_EQ(code_of(keeper), 0);
  EXPECT_NE(::stat(file.c_str(), &info), 0) << "it left its file";
  managers_.wait_for_free_cores(4);
  // Others may not read it, and what is not there is no lease.
  const Ended late =
      run_program({built_program("lease_user"), CLIENT_FUNCTIONS, "2", "5", "0"}, with_it);
  EXPECT_EQ(late.code, 91) << late.output;
  expect_contains(late.output, "opening the file of a kept lease");
}

TEST_F(Leases, TheFileOfALeaseIsItsUsersAlone) {
  auto keeper = start({"--output", "json"});
  const std::string file = kept()["file"];
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  auto with_it = environment();
  with_it.back() = "SUBLET_LEASE=" + file;
  const auto use = [&] {
    return run_program({built_program("lease_user"), CLIENT_FUNCTIONS, "1", "5", "0"}, with_it);
  };
  Ended ended = use();
  EXPECT_EQ(ended.code, 91);
  expect_contains(ended.output, "nobody else's to read or write");
  ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
  std::ofstream(file, std::ios::trunc) << "this is no lease, but many bytes of something else";
  ended = use();
  EXPECT_EQ(ended.code, 91);
  expect_contains(ended.output, "is no file of a lease");
}

TEST_F(Leases, TheFileOfALeaseLiesWhereItIsToAndReplacesNothing) {
  const std::string file = directory_ + "/shared-lease";
  const Ended shown =
      sublet({"lease", "--file", file, "--", "/bin/sh", "-c", "echo $SUBLET_LEASE; " + user(1, 5)});
  EXPECT_EQ(shown.code, 0) << shown.output;
  expect_contains(shown.output, file);
  EXPECT_FALSE(std::filesystem::exists(file));
  std::ofstream(file) << "mine";
  const Ended refused = sublet({"lease", "--file", file, "--", "true"});
  EXPECT_EQ(refused.code, 2) << refused.output;
  expect_contains(refused.output, "is there; name a new one");
  std::string text;
  std::ifstream(file) >> text;
  EXPECT_EQ(text, "mine");
}

TEST_F(Leases, EndsWithItsKeeper) {
  auto keeper = start({"--cores", "4", "--output", "json"});
  (void)kept();
  keeper.signal(SIGKILL);
  managers_.wait_for_free_cores(4);
}

TEST_F(Leases, EndsWithThePipeThatIsItsStandardInput) {
  const Ended ended = run_program(
      {"/bin/sh", "-c", "echo | " + built_program("sublet") + " lease --cores 2 >/dev/null"},
      environment());
  EXPECT_EQ(ended.code, 0) << ended.output;
  managers_.wait_for_free_cores(4);
}

TEST_F(Leases, ForwardsSignalsAndReturnsTheProgramsCode) {
  auto running = start(
      {"--", "/bin/sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"});
  ASSERT_TRUE(says("ready"));
  running.signal(SIGTERM);
  EXPECT_EQ(code_of(running), 9);
  EXPECT_EQ(sublet({"lease", "--", "/bin/sh", "-c", "kill -KILL $$"}).code, 128 + SIGKILL);
  EXPECT_EQ(sublet({"lease", "--", "/no/such/program"}).code, 127);
  EXPECT_EQ(sublet({"lease", "--"}).code, 2);
  managers_.wait_for_free_cores(4);
}

TEST_F(Leases, OutlivesTheResourceManager) {
  auto keeper = start({"--cores", "2", "--output", "json"});
  const std::string file = kept()["file"];
  managers_.resource_manager().signal(SIGKILL);
  ASSERT_TRUE(managers_.resource_manager().wait(30s));
  auto with_it = environment();
  with_it.back() = "SUBLET_LEASE=" + file;
  const Ended ended =
      run_program({built_program("lease_user"), CLIENT_FUNCTIONS, "2", "5", "0"}, with_it);
  EXPECT_EQ(ended.code, 0) << ended.output;
  managers_.start_resource_manager();
  managers_.wait_for_nodes(1);
  EXPECT_EQ(managers_.free_cores(), 2u);
  EXPECT_EQ(managers_.leases().at(0).state, "active");
}

TEST_F(Leases, RefusesOddOptions) {
  const std::pair<std::vector<std::string>, std::string> kWrong[] = {
      {{"--cores", "0"}, "the number of cores per part is 0"},
      {{"--time", "-1s"}, "--time: '-1s' is no time"},
      {{"--time", "0"}, "the duration in milliseconds is 0"},
      {{"--time", "99999999999999h"}, "--time"},
      {{"--wait", "8d"}, "'8d' is no time from 0 to 168h"},
      {{"--notice", "2h"}, "'2h' is no time from 0 to 1h"},
      {{"--priority", "101"}, "priority is 101; allowed are -100 to 100"},
      {{"--priority", "high"}, "--priority is 'high'"},
      {{"--placement", "left"}, "--placement is 'left'"},
      {{"--memory", "lots"}, "--memory"}};
  for (const auto& [words, text] : kWrong) {
    std::vector<std::string> all = {"lease"};
    all.insert(all.end(), words.begin(), words.end());
    all.insert(all.end(), {"--", "true"});
    const Ended ended = sublet(all);
    EXPECT_EQ(ended.code, 2) << words.front() << ": " << ended.output;
    expect_contains(ended.output, text);
  }
}

}  // namespace
}  // namespace sublet::test
