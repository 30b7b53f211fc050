#include <bench/fork_exec.hpp>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cerrno>

namespace sublet::bench {
namespace {

TEST(ForkExecTimer, TimesAsManyAsAsked) {
  auto timer = ForkExecTimer::start();
  ASSERT_TRUE(timer) << timer.error().what();
  for (const unsigned count : {1u, 3u}) {
    const auto times = timer->run(count);
    ASSERT_TRUE(times) << times.error().what();
    ASSERT_EQ(times->size(), count);
    for (const double ns : *times) EXPECT_GT(ns, 0);
  }
}

TEST(ForkExecTimer, LeavesNoProcessBehind) {
  ASSERT_TRUE(ForkExecTimer::start());
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

}  // namespace
}  // namespace sublet::bench
