// What is left of a crash beside the client's error: a backtrace in the manager's log, and a core
// file where one is asked for.

#include "functions_under_test.hpp"
#include "support/temp_directory.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace sublet::executor {
namespace {

namespace fs = std::filesystem;

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Crash : public testing::Test {
 protected:
  /// Calls `function` of the test functions, which crashes, in an executor whose standard error
  /// goes to a file.
  CallResult crash(const std::string& function, const SpawnOptions& options = {}) {
    const int kept = ::dup(STDERR_FILENO);
    const int file = ::open(log().c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    ::dup2(file, STDERR_FILENO);
    Functions functions({}, options);
    ::dup2(kept, STDERR_FILENO);
    ::close(kept);
    ::close(file);
    std::uint8_t out = 0;
    CallResult result = functions.call(function, nullptr, 0, &out, 1, TEST_FUNCTIONS);
    // As a client that ends at its first error: the manager says stop.
    functions.executor().control.reset();
    status_ = functions.zygote().exit_of(functions.executor().pid);
    said_ = content(log());
    return result;
  }
  [[nodiscard]] fs::path log() const { return directory_ / "log"; }
  [[nodiscard]] std::ptrdiff_t frames() const {
    return std::count(said_.begin(), said_.end(), '#');
  }

  const test::TempDirectory temporary_;
  const fs::path directory_ = temporary_.path();
  int status_ = 0;
  std::string said_;
};

TEST_F(Crash, LeavesABacktraceInTheLog) {
  const CallResult result = crash("crash_segv");
  EXPECT_EQ(result.status, Status::kCrashed);
  EXPECT_NE(result.error.find("at address 0x1234, in libtest.so+0x"), std::string::npos)
      << result.error;
  EXPECT_NE(said_.find(result.error + "; backtrace:\n"), std::string::npos) << said_;
  EXPECT_NE(said_.find("#0 libtest.so+0x"), std::string::npos) << said_;
  EXPECT_NE(said_.find(" (crash_segv+0x"), std::string::npos) << said_;
  EXPECT_NE(said_.find("#1 sublet-executor+0x"), std::string::npos) << said_;
}

TEST_F(Crash, InALibraryOfTheSystemShowsItsCallers) {
  const CallResult result = crash("crash_abort");
  EXPECT_EQ(result.error, "function 'crash_abort' raised SIGABRT (abort)");
  const auto abort = said_.find(" (abort+0x");
  EXPECT_NE(abort, std::string::npos) << said_;
  EXPECT_NE(said_.find(" (crash_abort+0x", abort), std::string::npos) << said_;
}

TEST_F(Crash, OfAFullStackHasSomeOfItsFrames) {
  const CallResult result = crash("crash_stack");
  EXPECT_NE(result.error.find(": its stack is full, in libtest.so+0x"), std::string::npos)
      << result.error;
  EXPECT_EQ(frames(), 32) << said_;
}

TEST_F(Crash, OfAThreadThatAFunctionStartedHasABacktrace) {
  EXPECT_EQ(crash("crash_in_thread").status, Status::kLost);
  EXPECT_NE(said_.find("a thread that a function started raised SIGSEGV"), std::string::npos);
  EXPECT_GT(frames(), 1) << said_;
}

#if defined(__x86_64__)
TEST_F(Crash, WithoutAStackEndsTheCallAllTheSame) {
  const CallResult result = crash("crash_without_stack");
  EXPECT_EQ(result.status, Status::kCrashed);
  EXPECT_TRUE(result.error.starts_with("function 'crash_without_stack' raised SIGSEGV"))
      << result.error;
}
#endif

TEST_F(Crash, LeavesNoCoreFileUnlessAskedTo) {
  EXPECT_EQ(crash("crash_segv").status, Status::kCrashed);
  EXPECT_TRUE(WIFEXITED(status_));
}

TEST_F(Crash, LeavesACoreFileWhereItIsToBe) {
  const std::string pattern = content("/proc/sys/kernel/core_pattern");
  rlimit limit{};
  ::getrlimit(RLIMIT_CORE, &limit);
  if (pattern.find_first_of("/|") != std::string::npos || limit.rlim_max == 0) {
    GTEST_SKIP() << "this system keeps core files elsewhere, or none: core_pattern is " << pattern
                 << ", ulimit -Hc " << limit.rlim_max;
  }
  const fs::path cores = directory_ / "cores";
  fs::create_directory(cores);
  SpawnOptions options;
  options.core_directory = cores.string();
  if (::geteuid() == 0) {  // as managers that root runs have it
    options.uid = options.gid = 65534;
    ASSERT_EQ(::chown(cores.c_str(), options.uid, options.gid), 0);
    ASSERT_EQ(::chmod(directory_.c_str(), 0711), 0);
  }
  const CallResult result = crash("crash_abort", options);
  EXPECT_EQ(result.status, Status::kCrashed);
  EXPECT_TRUE(WIFSIGNALED(status_) && WTERMSIG(status_) == SIGABRT) << status_;
  EXPECT_NE(said_.find("; backtrace:"), std::string::npos) << said_;
  EXPECT_TRUE(WCOREDUMP(status_));
  std::vector<fs::path> files(fs::directory_iterator{cores}, {});
  ASSERT_EQ(files.size(), 1u);
  EXPECT_TRUE(content(files.front())
                  .starts_with("\x7f"
                               "ELF"));
}

TEST_F(Crash, SaysWhyThereIsNoCoreFile) {
  const std::string nowhere = (directory_ / "nowhere").string();
  SpawnOptions options;
  options.core_directory = nowhere;
  EXPECT_EQ(crash("crash_segv", options).status, Status::kCrashed);
  EXPECT_NE(said_.find("no core file: this executor's user cannot write to " + nowhere),
            std::string::npos)
      << said_;
  EXPECT_TRUE(WIFEXITED(status_));
}

}  // namespace
}  // namespace sublet::executor
