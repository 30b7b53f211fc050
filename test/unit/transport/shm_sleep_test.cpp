#include "process.hpp"
#include "shm_pair.hpp"
#include "support/forbid_membarrier.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <thread>

namespace sublet::transport::shm {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 20s;

/// A thread that sleeps as the worker of a channel, once.
class Sleeper {
 public:
  Sleeper(ServerChannel& server, std::chrono::nanoseconds limit)
      : ended_(std::async(std::launch::async, [this, &server, limit] {
          thread_ = ::gettid();
          server.sleep(limit);
        })) {}
  [[nodiscard]] bool await_asleep() {
    return conformance::await(
        [this] { return thread_ != 0 && conformance::is_blocked(::getpid(), thread_); });
  }
  [[nodiscard]] bool woke() { return ended_.wait_for(kPatience) == std::future_status::ready; }

 private:
  std::atomic<pid_t> thread_{0};
  std::future<void> ended_;
};

class ShmSleep : public ::testing::TestWithParam<FenceMode> {
 protected:
  void SetUp() override {
    if (GetParam() == FenceMode::kAsymmetric && !base::register_asymmetric_fence()) {
      GTEST_SKIP() << "this kernel has no expedited membarrier";
    }
  }
  ShmPair pair_{{2, GetParam()}};
  std::uint32_t& worker_word() {
    return at<SleepWord>(pair_.memory->data(), pair_.layout.worker_sleep())->sleeping;
  }
};

TEST_P(ShmSleep, EndsByItsLimit) {
  pair_.server.sleep(1ms);
  pair_.server.sleep(0ns);
  pair_.server.sleep(-1s);
  EXPECT_EQ(worker_word(), 0u) << "the wish to be woken outlived the sleep";
}

TEST_P(ShmSleep, DoesNotBeginWhenARequestIsThere) {
  Ticket ticket;
  ASSERT_EQ(pair_.client.submit({}, ticket), Status::kOk);
  Sleeper sleeper(pair_.server, 1h);
  EXPECT_TRUE(sleeper.woke());
}

TEST_P(ShmSleep, EndsWhenARequestComes) {
  Sleeper sleeper(pair_.server, 1h);
  ASSERT_TRUE(sleeper.await_asleep());
  Ticket ticket;
  ASSERT_EQ(pair_.client.submit({}, ticket), Status::kOk);
  EXPECT_TRUE(sleeper.woke());
  EXPECT_TRUE(pair_.serve());
}

TEST_P(ShmSleep, EndsWhenInterrupted) {
  Sleeper sleeper(pair_.server, 1h);
  ASSERT_TRUE(sleeper.await_asleep());
  pair_.server.interrupt();
  EXPECT_TRUE(sleeper.woke());
  EXPECT_FALSE(pair_.server.is_open());
  pair_.server.sleep(1h);  // and does not begin again
}

TEST_P(ShmSleep, EndsWhenInterruptedWhateverTheClientWroteToItsWord) {
  for (const std::uint32_t value : {0u, 2u, ~0u}) {
    ShmPair pair({2, GetParam()});
    Sleeper sleeper(pair.server, 1h);
    ASSERT_TRUE(sleeper.await_asleep());
    store_release(at<SleepWord>(pair.memory->data(), pair.layout.worker_sleep())->sleeping, value);
    pair.server.interrupt();
    EXPECT_TRUE(sleeper.woke()) << value;
  }
}

TEST_P(ShmSleep, LosesNoInterruptThatComesWhileItFallsAsleep) {
  for (int i = 0; i < 2'000; ++i) {
    ShmPair pair({1, GetParam()}, {}, 1);
    std::atomic<bool> started{false};
    std::thread interrupter([&] {
      while (!started.load(std::memory_order_acquire)) base::cpu_pause();
      for (int spin = 0; spin < i % 50; ++spin) base::cpu_pause();
      pair.server.interrupt();
    });
    started.store(true, std::memory_order_release);
    while (pair.server.is_open()) {
      const base::Deadline deadline = base::Deadline::after(kPatience);
      pair.server.sleep(kPatience);
      if (deadline.passed()) {
        ADD_FAILURE() << "interrupt " << i << " was lost";
        break;
      }
    }
    interrupter.join();
    if (HasFailure()) break;
  }
}

INSTANTIATE_TEST_SUITE_P(EachFence, ShmSleep,
                         ::testing::Values(FenceMode::kAsymmetric, FenceMode::kSymmetric),
                         [](const auto& fence) {
                           return fence.param == FenceMode::kAsymmetric ? "Asymmetric"
                                                                        : "Symmetric";
                         });

TEST(ShmSleepUnfenced, LooksAgainSoonWhenTheSystemRefusesTheFence) {
  ShmPair pair({2, FenceMode::kAsymmetric});
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (!test::forbid_membarrier()) ::_exit(2);
    const base::Deadline deadline = base::Deadline::after(kPatience);
    pair.server.sleep(kPatience);
    ::_exit(deadline.passed() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "this system takes no seccomp filter";
  EXPECT_EQ(WEXITSTATUS(status), 0) << "it slept its full limit on a fence that did nothing";
}

}  // namespace
}  // namespace sublet::transport::shm
