// An application that forks while it has a lease.

#include "support/managers.hpp"
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>

namespace sublet {
namespace {

using namespace std::chrono_literals;
using test::TestManagers;
using test::TestNode;

/// A child that hangs is ended by this signal, and seen by it.
constexpr unsigned kChildLimit = 20;

struct Way {
  const char* name;
  pid_t (*make)();
};
constexpr Way kFork{"Fork", [] { return ::fork(); }};
/// The handlers of pthread_atfork do not run.
constexpr Way kClone{
    "Clone",
    [] { return static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0)); }};

/// What `child` returns, in a child of this process; 1000 and more: it was killed.
int in_child(const std::function<int()>& child, const Way& way = kFork) {
  const pid_t pid = way.make();
  if (pid == 0) {
    ::alarm(kChildLimit);
    ::_exit(child());
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/// SUBLET_TRANSPORT names the transport.
class Fork : public ::testing::Test {
 protected:
  void SetUp() override {
    session_ = Session::open(managers_.session_options()).value_or_throw();
    lease_ = session_.lease({.cores = 2, .replace = false}).value_or_throw();
    multiply_ = lease_.function<double(Pair)>(CLIENT_FUNCTIONS, "multiply").value_or_throw();
    spin_ = lease_.function(CLIENT_FUNCTIONS, "spin_ms").value_or_throw();
  }
  struct Pair {
    double a, b;
  };
  void expect_calls_to_be_right() {
    for (int i = 0; i < 20; ++i) {
      const auto product = multiply_(Pair{1.0 * i, 3});
      ASSERT_TRUE(product) << product.error().what();
      ASSERT_EQ(*product, 3.0 * i);
    }
  }

  TestManagers managers_{{TestNode{}}, true};
  Session session_;
  Lease lease_;
  TypedFunction<double(Pair)> multiply_;
  Function spin_;
};

void PrintTo(const Way& way, std::ostream* out) {
  *out << way.name;
}

class ForkBy : public Fork, public ::testing::WithParamInterface<Way> {
 protected:
  int in_child(const std::function<int()>& child) { return sublet::in_child(child, GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Ways, ForkBy, ::testing::Values(kFork, kClone),
                         [](const auto& test) { return test.param.name; });

TEST_P(ForkBy, ChildsCallsEndAtOnceAndTheParentsAreRight) {
  EXPECT_EQ(in_child([&] {
              for (int i = 0; i < 3; ++i) {
                const auto product = multiply_(Pair{2, 3});
                if (product || product.error().kind() == ErrorKind::kInternal) return 1;
                if (std::string(product.error().what()).find("forked") == std::string::npos) {
                  return 2;
                }
              }
              Call call = spin_.async(nullptr, 0, nullptr, 0);
              if (call.wait().status != Status::kClosed) return 3;
              if (spin_.try_async(0, nullptr, 0, nullptr, 0, call) != Status::kClosed) return 4;
              return lease_.wait_all(1s) ? 0 : 5;
            }),
            0);
  expect_calls_to_be_right();
}

TEST_P(ForkBy, CallsUnderWayAreTheParents) {
  const std::uint32_t ms = 300;
  std::uint32_t done = 0;
  Call call = spin_.async(&ms, sizeof(ms), &done, sizeof(done));
  EXPECT_EQ(in_child([&] {
              if (call.wait().status != Status::kClosed) return 1;
              return lease_.wait_all(1s) ? 0 : 2;
            }),
            0);
  EXPECT_EQ(call.wait().status, Status::kOk);
  EXPECT_EQ(done, ms);
  expect_calls_to_be_right();
}

TEST_P(ForkBy, ChildCanAskForNothingWithItsParentsSession) {
  EXPECT_EQ(in_child([&] {
              const auto lease = session_.lease({.cores = 1});
              if (lease || std::string(lease.error().what()).find("forked") == std::string::npos) {
                return 1;
              }
              if (lease_.function(CLIENT_FUNCTIONS, "echo")) return 2;
              if (lease_.usage() || lease_.extend(60s) || session_.nodes()) return 3;
              lease_.release();
              return 0;
            }),
            0);
  expect_calls_to_be_right();
}

TEST_F(Fork, ChildMayOpenASessionOfItsOwn) {
  EXPECT_EQ(in_child([&] {
              auto session = Session::open(managers_.session_options());
              if (!session) return 1;
              auto lease = session->lease({.cores = 1});
              if (!lease) return 2;
              auto multiply = lease->function<double(Pair)>(CLIENT_FUNCTIONS, "multiply");
              if (!multiply) return 3;
              const auto product = (*multiply)(Pair{2, 3});
              return product && *product == 6 ? 0 : 4;
            }),
            0);
  expect_calls_to_be_right();
}

TEST_P(ForkBy, HandlesThatEndInTheChildLeaveTheParentsLease) {
  EXPECT_EQ(in_child([&] {
              spin_ = {};
              multiply_ = {};
              lease_ = {};
              session_ = {};
              return 0;
            }),
            0);
  expect_calls_to_be_right();
}

TEST_F(Fork, ACopyInAChildKeepsNoLease) {
  // A process between us and the child that lives on: it has the lease, and dies.
  lease_.release();
  managers_.wait_for_free_cores(4);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t middle = ::fork();
  if (middle == 0) {
    auto session = Session::open(managers_.session_options());
    auto lease = session->lease({.cores = 4});
    const pid_t child = lease ? ::fork() : -1;
    if (child == 0) {
      ::alarm(60);
      for (;;) ::pause();
    }
    (void)!::write(ends[1], &child, sizeof(child));
    for (;;) ::pause();
  }
  pid_t child = -1;
  ASSERT_EQ(::read(ends[0], &child, sizeof(child)), static_cast<ssize_t>(sizeof(child)));
  ASSERT_GT(child, 0);
  EXPECT_EQ(managers_.free_cores(), 0u);
  ::kill(middle, SIGKILL);
  ::waitpid(middle, nullptr, 0);
  managers_.wait_for_free_cores(4);
  EXPECT_EQ(::kill(child, 0), 0) << "the child did not outlive its parent";
  ::kill(child, SIGKILL);
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace sublet
