#include "support/forbid_membarrier.hpp"
#include <base/asymmetric_fence.hpp>
#include <base/clock.hpp>

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <new>

namespace sublet::base {
namespace {

TEST(AsymmetricFence, SaysTheSameEachTime) {
  const bool first = register_asymmetric_fence();
  EXPECT_EQ(register_asymmetric_fence(), first);
  if (!first) GTEST_SKIP() << "this kernel has no expedited membarrier";
  EXPECT_TRUE(heavy_fence());
}

TEST(AsymmetricFence, SaysSoWhenTheSystemRefusesIt) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (!test::forbid_membarrier()) ::_exit(2);
    ::_exit(heavy_fence() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "this system takes no seccomp filter";
  EXPECT_EQ(WEXITSTATUS(status), 0) << "a refused fence was reported as done";
}

/// The pattern the fence is for, between two processes: each says "I am here" and then looks for
/// the other. That neither sees the other must never happen.
struct Dekker {
  alignas(128) std::atomic<std::uint32_t> light{0};
  alignas(128) std::atomic<std::uint32_t> heavy{0};
  alignas(128) std::atomic<std::uint32_t> round{0};
  alignas(128) std::atomic<std::uint32_t> light_done{0};
  alignas(128) std::atomic<std::uint32_t> light_saw{0};
};

constexpr std::uint32_t kRounds = 20'000;

/// Spins until `word` is `value`; yields when cores are short.
void await(const std::atomic<std::uint32_t>& word, std::uint32_t value) {
  for (std::uint32_t i = 0; word.load(std::memory_order_acquire) != value; ++i) {
    cpu_pause();
    if (i % 1024 == 1023) ::sched_yield();
  }
}

void light_side(Dekker& shared) {
  register_asymmetric_fence();
  for (std::uint32_t round = 1; round <= kRounds; ++round) {
    await(shared.round, round);
    for (std::uint32_t i = 0; i < round % 64; ++i) cpu_pause();
    shared.light.store(round, std::memory_order_relaxed);
    light_fence();
    const bool saw = shared.heavy.load(std::memory_order_relaxed) == round;
    shared.light_saw.store(saw ? 1 : 0, std::memory_order_relaxed);
    shared.light_done.store(round, std::memory_order_release);
  }
}

TEST(AsymmetricFence, LetsNeitherProcessMissTheOther) {
  if (!register_asymmetric_fence()) GTEST_SKIP() << "this kernel has no expedited membarrier";
  void* memory =
      ::mmap(nullptr, sizeof(Dekker), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto& shared = *new (memory) Dekker;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    light_side(shared);
    ::_exit(0);
  }
  std::uint32_t missed = 0;
  std::uint32_t refused = 0;
  for (std::uint32_t round = 1; round <= kRounds; ++round) {
    shared.round.store(round, std::memory_order_release);
    for (std::uint32_t i = 0; i < round % 61; ++i) cpu_pause();
    shared.heavy.store(round, std::memory_order_relaxed);
    if (!heavy_fence()) ++refused;
    const bool saw = shared.light.load(std::memory_order_relaxed) == round;
    await(shared.light_done, round);
    if (!saw && shared.light_saw.load(std::memory_order_relaxed) == 0) ++missed;
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ::munmap(memory, sizeof(Dekker));
  EXPECT_EQ(refused, 0u);
  EXPECT_EQ(missed, 0u);
}

}  // namespace
}  // namespace sublet::base
