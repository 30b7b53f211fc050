// How programs with a lease end: with the code that they say, and leaving nothing.

#include "support/managers.hpp"
#include "support/private_files.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace sublet {
namespace {

using namespace std::chrono_literals;
using test::ChildProcess;
using test::TestManagers;
using test::TestNode;

constexpr int kExitCode = 3;
constexpr std::uint32_t kWorkers = 16;

const std::vector<std::string> kWays = {
    "lost-static", "lost-local",     "ending-static",   "ending-local", "drop-in-callback",
    "thread",      "call-under-way", "thread-in-wait",  "wait-for-all", "child",
    "sigpipe",     "descriptors",    "ignored-children"};

class ProgramEnds : public ::testing::Test {
 protected:
  void start(const std::string& way, const std::vector<std::string>& environment) {
    ChildProcess::Options options;
    options.environment = environment;
    options.output = managers_.directory() + "/" + way + ".log";
    programs_.emplace(way, std::make_unique<ChildProcess>(
                               std::vector<std::string>{ENDING_PROGRAM, way}, options));
  }
  /// The exit code; 1000 and more: it was killed; -1: it hangs.
  int end_of(const std::string& way) {
    const auto status = programs_.at(way)->wait(60s);
    programs_.erase(way);
    if (!status) return -1;
    return WIFEXITED(*status) ? WEXITSTATUS(*status) : 1000 + WTERMSIG(*status);
  }

  TestManagers managers_{{TestNode{.oversubscribe = kWorkers, .memory = "8GiB"}}};
  std::map<std::string, std::unique_ptr<ChildProcess>> programs_;
};

TEST_F(ProgramEnds, WithItsOwnCodeAndItsCoresFree) {
  for (const std::string& way : kWays) start(way, managers_.environment());
  for (const std::string& way : kWays) EXPECT_EQ(end_of(way), kExitCode) << way;
  managers_.wait_for_free_cores(kWorkers);
}

TEST_F(ProgramEnds, WithItsOwnCodeAndWithoutItsPrivateManager) {
  auto environment = managers_.environment();
  environment[0] = "SUBLET_MANAGER";  // unset
  for (const std::string& way : kWays) start(way, environment);
  for (const std::string& way : kWays) EXPECT_EQ(end_of(way), kExitCode) << way;
  const auto gone = [this] {
    return managers_.processes().size() == 3 &&  // the managers and a zygote
           test::private_files(managers_.directory()).empty();
  };
  EXPECT_TRUE(test::eventually(gone, 20s)) << managers_.processes().size();
}

TEST_F(ProgramEnds, AndTheNextOneFindsItsCores) {
  for (int i = 0; i < 5; ++i) {
    start("lease-all", managers_.environment());
    EXPECT_EQ(end_of("lease-all"), kExitCode) << i;
  }
}

}  // namespace
}  // namespace sublet
