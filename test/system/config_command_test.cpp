// `sublet config check`.

#include "command_fixture.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <string>

namespace sublet::test {
namespace {

class ConfigCheck : public CommandTest {
 protected:
  Ended check(const std::string& content, const std::vector<std::string>& more = {}) {
    std::ofstream(file_) << content;
    std::vector<std::string> words = {"config", "check", file_};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
  const std::string file_ = directory_ + "/checked.conf";
};

TEST_F(ConfigCheck, FindsNothingInAGoodFile) {
  const Ended ended = check(
      "# the cluster's\n[resource-manager]\nlisten = tcp:*:7700, unix:@here\nquota-cores = 64\n"
      "price-core-hour = 0.25\n\n[executor-manager]\nmanager = tcp:head:7700  # the head node\n"
      "cpuset = 0\nmemory = 1GiB\ndrain-time = 5s\nlog-format = json\n");
  EXPECT_EQ(ended.code, 0) << ended.output;
  expect_contains(ended.output, "nothing is wrong");
}

TEST_F(ConfigCheck, NamesTheLineAndTheNearestRightWord) {
  const Ended ended = check(
      "[executor-manger]\ncores = 1\n[executor-manager]\ncpu-set = 0\nquota-cores = 3\n"
      "warm_executors = 2\n");
  EXPECT_EQ(ended.code, 2) << ended.output;
  expect_contains(ended.output, ":2: no command reads section [executor-manger]");
  expect_contains(ended.output, "did you mean 'executor-manager'?");
  expect_contains(ended.output, ":4: 'cpu-set' is no option of [executor-manager]");
  expect_contains(ended.output, "did you mean 'cpuset'?");
  expect_contains(ended.output,
                  ":5: 'quota-cores' is no option of [executor-manager]; it is one of "
                  "[resource-manager]");
  expect_contains(ended.output, "did you mean 'warm-executors'?");
}

TEST_F(ConfigCheck, RefusesWhatDaemonsRefuse) {
  const Ended ended = check(
      "cores = 2\n[resource-manager]\nquota-cores = many\nprice-core-hour = -1\nwait-aging = 0\n"
      "operators = no-such-group-here\nlisten = somewhere\n[executor-manager]\ncores = -1\n"
      "cpuset = 0-60000\nmemory = much\noversubscribe = 0\nwhat is this\nlog-format = xml\n");
  EXPECT_EQ(ended.code, 2) << ended.output;
  for (const char* part : {":1: 'cores' is set before the first section", "--quota-cores is 'many'",
                           "--price-core-hour must be a number", "--wait-aging",
                           "no-such-group-here", "somewhere", "--cores is '-1'", "--memory: 'much'",
                           ":13: 'what is this'", ":14: 'log-format' is 'xml'"}) {
    expect_contains(ended.output, part);
  }
  expect_contains(ended.output, ":10: of the cores '0-60000' ");
  // What only two of them together make wrong.
  const Ended both =
      check("[executor-manager]\nexecutor-user = nobody\nexecutor-users = 60000-60009\n");
  EXPECT_EQ(both.code, 2);
  expect_contains(both.output, "--executor-user and --executor-users are both given");
}

TEST_F(ConfigCheck, WhatItAcceptsADaemonAccepts) {
  // The same file, read by the daemon: which then stops at a resource manager that is not there.
  for (const auto& [content, good] :
       {std::pair<std::string, bool>{"[executor-manager]\noversubscribe = 2\n", true},
        {"[executor-manager]\noversubscribe = 0\n", false},
        {"[executor-manager]\noversubscrib = 2\n", false},
        {"[executor-manager]\ncores = 1\ncores = 1\n", false}}) {
    EXPECT_EQ(check(content).code, good ? 0 : 2) << content;
    const Ended daemon =
        run({"executor-manager", "--config", file_, "--executor-users", "nonsense"});
    EXPECT_EQ(daemon.code, 2) << daemon.output;
    EXPECT_EQ(daemon.output.find("nonsense") != std::string::npos, good) << daemon.output;
  }
}

TEST_F(ConfigCheck, ReadsApplicationsFilesToo) {
  EXPECT_EQ(check("manager = tcp:head:7700\ntimeout-ms = 500\n").code, 0);
  const Ended wrong = check("manger = tcp:head:7700\ntimeout-ms = soon\ntransport = pigeon\n");
  EXPECT_EQ(wrong.code, 2) << wrong.output;
  expect_contains(wrong.output, ":1: there is no option 'manger'; did you mean 'manager'?");
  expect_contains(wrong.output, ":2: option 'timeout-ms' is 'soon'");
  expect_contains(wrong.output, ":3: option 'transport' is 'pigeon'");
  expect_contains(check("cores = 1\n", {"--for", "managers"}).output, "before the first section");
}

TEST_F(ConfigCheck, SpeaksJsonWhateverTheFileHolds) {
  const Ended ended = check("\xff\x1b[31m \"=\"\n[\xfe]\na=b\n", {"--output", "json"});
  EXPECT_EQ(ended.code, 2);
  const auto parsed = nlohmann::json::parse(ended.output, nullptr, false);
  ASSERT_TRUE(parsed.is_object()) << ended.output;
  EXPECT_EQ(parsed["good"], false);
  EXPECT_FALSE(parsed["problems"].empty());
  const Ended table = check("\xff\x1b[31m \"=\"\n");
  EXPECT_EQ(table.output.find('\x1b'), std::string::npos);
}

TEST_F(ConfigCheck, SaysWhyAFileCannotBeRead) {
  expect_contains(run({"config", "check", directory_ + "/none"}).output, "No such file");
  expect_contains(run({"config", "check", directory_}).output, "it is a directory");
  EXPECT_EQ(run({"config", "check"}).code, 2);
  EXPECT_EQ(run({"config", "frobnicate", file_}).code, 2);
  std::ofstream(file_) << std::string(std::size_t{2} << 20, 'a');
  expect_contains(run({"config", "check", file_}).output, "more than 1 MiB");
}

}  // namespace
}  // namespace sublet::test
