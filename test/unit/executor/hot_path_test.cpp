// The budget of worker_datapath.hpp, seen from inside the worker's thread.

#include "zygote_under_test.hpp"
#include <transport/tuning.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace sublet::executor {
namespace {

using transport::Arena;

struct Seen {
  std::uint64_t waits, others, last_other, allocations, can_count_allocations;
};

enum : std::uint16_t { kNothing, kCount, kSeen, kMisbehave };

class HotPath : public testing::Test {
 protected:
  void SetUp() override {
    if (kSanitizer) GTEST_SKIP() << "a sanitizer counts allocations and system calls of its own";
    zygote_.emplace(std::vector<std::string>{"LD_PRELOAD=" MALLOC_COUNTER});
    executor_ = zygote_->spawn();
    executor_.open_all(HOT_PATH_FUNCTIONS,
                       {"hot_nothing", "hot_count_system_calls", "hot_seen", "hot_misbehave"});
    channel_.emplace(
        executor_.connect(0, Arena::create(1u << 20).value_or_throw()).value_or_throw());
  }

  CallResult run(std::uint16_t function, void* out = nullptr, std::uint64_t out_capacity = 0) {
    return call(*channel_, function, nullptr, 0, out, out_capacity);
  }

  void count_system_calls() {
    std::int32_t error = -1;
    ASSERT_EQ(run(kCount, &error, sizeof(error)).status, Status::kOk);
    ASSERT_EQ(error, 0) << "the filter was refused";
  }

  Seen seen() {
    Seen result{};
    const CallResult called = run(kSeen, &result, sizeof(result));
    EXPECT_EQ(called.status, Status::kOk) << called.error;
    return result;
  }

  std::optional<ZygoteUnderTest> zygote_;
  ExecutorUnderTest executor_;
  std::optional<transport::shm::ClientChannel> channel_;
};

/// True when more threads of the machine want to run now than it has cores.
bool cores_are_short() {
  std::ifstream file("/proc/stat");
  std::string name;
  unsigned running = 0;
  while (file >> name && name != "procs_running") file.ignore(1 << 16, '\n');
  return file >> running && running > std::thread::hardware_concurrency();
}

TEST_F(HotPath, MakesNoSystemCallAndAllocatesNothing) {
  constexpr int kRounds = 10000;  // a million calls, fewer where other programs want the cores
  const auto deadline = base::Deadline::after(std::chrono::seconds(20));
  constexpr int kCallsPerRound = 100;
  count_system_calls();
  const Seen before = seen();
  ASSERT_EQ(before.can_count_allocations, 1u);
  std::uint64_t waits = before.waits;
  std::uint64_t fewest = ~std::uint64_t{0};
  int quiet_rounds = 0;
  int rounds = 0;
  base::Ticks short_at = base::ticks();
  const base::Ticks memory = base::TickRate::get().from(transport::tuning::kContentionMemoryMax);
  bool had_cores = false;  // for longer than a worker remembers that it had not
  for (; rounds < kRounds && !deadline.passed(); ++rounds) {
    for (int i = 0; i < kCallsPerRound; ++i) {
      ASSERT_EQ(run(kNothing).status, Status::kOk);
    }
    const Seen now = seen();
    fewest = std::min(fewest, now.waits - waits);
    quiet_rounds += now.waits == waits ? 1 : 0;
    waits = now.waits;
    if (cores_are_short()) short_at = base::ticks();
    had_cores = had_cores || base::ticks() > short_at + 2 * memory;
  }
  const Seen after = seen();
  EXPECT_EQ(after.others, before.others) << "the last one is number " << after.last_other;
  EXPECT_EQ(after.allocations, before.allocations);
  // A worker that loses its core yields, and wakes a client that went to sleep meanwhile: that is
  // no longer the hot path. Rounds in which nothing of the kind happened make no call at all.
  std::printf("%d of %d rounds without any system call, %llu waits and wakes in the others\n",
              quiet_rounds, rounds, static_cast<unsigned long long>(after.waits - before.waits));
  if (fewest != 0 && !had_cores) GTEST_SKIP() << "other programs wanted the cores all the time";
  EXPECT_EQ(fewest, 0u);
}

TEST_F(HotPath, WouldSeeThem) {
  count_system_calls();
  const Seen before = seen();
  ASSERT_EQ(run(kMisbehave).status, Status::kOk);
  const Seen after = seen();
  EXPECT_EQ(after.others, before.others + 1);
  EXPECT_GE(after.allocations, before.allocations + 2);  // new and delete
}

}  // namespace
}  // namespace sublet::executor
