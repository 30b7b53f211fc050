// How programs with a lease end: with the code that they say, and leaving nothing.

#include "support/managers.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace sublet {
namespace {

using namespace std::chrono_literals;
using test::ChildProcess;
using test::TestManagers;

constexpr int kExitCode = 3;

class Program : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { managers_ = std::make_unique<TestManagers>(); }
  static void TearDownTestSuite() { managers_.reset(); }

  /// The exit code; 1000 and more: it was killed; -1: it hangs.
  int run(const std::string& mode, const std::vector<std::string>& environment) {
    ChildProcess::Options options;
    options.environment = environment;
    options.output = managers_->directory() + "/program.log";
    ChildProcess program({ENDING_PROGRAM, mode}, options);
    const auto status = program.wait(30s);
    if (!status) return -1;
    return WIFEXITED(*status) ? WEXITSTATUS(*status) : 1000 + WTERMSIG(*status);
  }
  /// With a private manager of its own.
  [[nodiscard]] std::vector<std::string> alone() const {
    auto environment = managers_->environment();
    environment[0] = "SUBLET_MANAGER";  // unset
    return environment;
  }

  static inline std::unique_ptr<TestManagers> managers_;
};

class ProgramEnds : public Program, public ::testing::WithParamInterface<const char*> {};

TEST_P(ProgramEnds, WithItsOwnCodeOnALeaseOfManagers) {
  EXPECT_EQ(run(GetParam(), managers_->environment()), kExitCode);
  managers_->wait_for_free_cores(4);
}

TEST_P(ProgramEnds, WithItsOwnCodeAndItsPrivateManager) {
  EXPECT_EQ(run(GetParam(), alone()), kExitCode);
  const auto gone = [this] {
    std::error_code ignored;
    return managers_->processes().size() == 3 &&  // the managers and a zygote
           std::filesystem::is_empty(managers_->directory() + "/sublet", ignored);
  };
  EXPECT_TRUE(test::eventually(gone, 20s)) << managers_->processes().size();
}

INSTANTIATE_TEST_SUITE_P(Ways, ProgramEnds,
                         ::testing::Values("lost-static", "lost-local", "ending-static",
                                           "ending-local", "drop-in-callback", "thread",
                                           "call-under-way", "child", "wait-for-all", "sigpipe",
                                           "descriptors", "ignored-children"),
                         [](const auto& way) {
                           std::string name = way.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST_F(Program, FindsTheCoresOfTheOneThatHasJustEnded) {
  for (int i = 0; i < 5; ++i) EXPECT_EQ(run("lease-all", managers_->environment()), kExitCode) << i;
}

}  // namespace
}  // namespace sublet
