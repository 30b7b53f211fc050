#include <base/fork_guard.hpp>
#include <base/unforked_memory.hpp>

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <vector>

namespace sublet::base {
namespace {

struct Way {
  const char* name;
  pid_t (*make)();
};
const Way kWays[] = {
    {"Fork", [] { return ::fork(); }},
    {"Clone",
     [] {
       return static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0));
     }},
#if __GLIBC_PREREQ(2, 34)
    {"UnderscoreFork", [] { return ::_Fork(); }},
#endif
};

void PrintTo(const Way& way, std::ostream* out) {
  *out << way.name;
}

class ForkGuardTest : public testing::TestWithParam<Way> {
 protected:
  /// What `child` returns, in a child of this process.
  static int in_child(const std::function<int()>& child) {
    const pid_t pid = GetParam().make();
    if (pid == 0) ::_exit(child());
    int status = 0;
    return ::waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};

TEST_P(ForkGuardTest, ChildHasAnotherGenerationAndItsChildToo) {
  const auto here = fork_generation();
  EXPECT_EQ(in_child([&] {
              const auto child = fork_generation();
              if (child == here || child != fork_generation()) return 1;
              return in_child([&] {
                const auto grandchild = fork_generation();
                return grandchild == here || grandchild == child ? 2 : 0;
              });
            }),
            0);
  EXPECT_EQ(fork_generation(), here);
}

TEST_P(ForkGuardTest, ChildLetsGoOfDescriptorsAndFindsFlagsLowered) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  using Flags = std::vector<std::atomic<bool>, UnforkedAllocator<std::atomic<bool>>>;
  Flags flags(1);
  flags[0] = true;
  const ForkGuard descriptor(ends[1]);
  const ForkGuard flag(flags[0]);
  EXPECT_EQ(in_child([&] {
              if (flags[0]) return 1;
              (void)fork_generation();
              return ::write(ends[1], "x", 1) == 1 ? 0 : 2;  // into nothing
            }),
            0);
  EXPECT_TRUE(flags[0]);
  ::close(ends[1]);
  char byte;
  EXPECT_EQ(::read(ends[0], &byte, 1), 0) << "the child has written into the parent's pipe";
  ::close(ends[0]);
}

TEST_P(ForkGuardTest, ChildHasGuardsOfItsOwn) {
  std::atomic<bool> ours{true};
  const ForkGuard guard(ours);
  EXPECT_EQ(in_child([] {
              std::atomic<bool> flag{true};
              const ForkGuard own(flag);
              const pid_t pid = ::fork();
              if (pid == 0) ::_exit(flag ? 1 : 0);
              int status = 0;
              ::waitpid(pid, &status, 0);
              return flag && status == 0 ? 0 : 1;
            }),
            0);
  EXPECT_TRUE(ours);
}

INSTANTIATE_TEST_SUITE_P(Ways, ForkGuardTest, testing::ValuesIn(kWays),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace sublet::base
