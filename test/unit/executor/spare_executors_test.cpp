// Processes that are kept ready to become executors.

#include "support/eventually.hpp"
#include "surroundings.hpp"
#include "zygote_under_test.hpp"
#include <executor/spare_executors.hpp>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

namespace sublet::executor {
namespace {

using namespace std::chrono_literals;
using transport::Arena;

TEST(SpareDemand, IsWhatWasOrderedLately) {
  const SpareDemand::Time start{};
  SpareDemand demand(3);
  EXPECT_EQ(demand.wanted(start), 1u) << "one is there for the first lease";
  for (int i = 0; i < 2; ++i) demand.ordered(start);
  EXPECT_EQ(demand.wanted(start), 2u);
  for (int i = 0; i < 9; ++i) demand.ordered(start + 1s);
  EXPECT_EQ(demand.wanted(start + 1s), 3u) << "and no more than is allowed";
  EXPECT_EQ(demand.wanted(start + 1s + SpareDemand::kWindow), 3u);
  EXPECT_EQ(demand.wanted(start + 2s + SpareDemand::kWindow), 1u);
}

TEST(SpareDemand, IsNothingWhereNoneIsAllowed) {
  SpareDemand demand(0);
  demand.ordered({});
  EXPECT_EQ(demand.wanted({}), 0u);
}

/// A system that has no process or descriptor left is not asked again at once, and for ever.
TEST(Spares, ThatCannotBeMadeAreTriedAgainLater) {
  SpareExecutors spares([](const base::Fd&) { ::_exit(0); });
  spares.allow(1);
  ASSERT_TRUE(test::eventually([&] { return spares.timeout_ms() == 0; }));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  spares.look();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(spares.count(), 0u);
  EXPECT_GT(spares.timeout_ms(), 0);
}

TEST(Spares, BecomeExecutorsThatAreAsAnyOther) {
  ZygoteUnderTest zygote;
  zygote.allow_spares(1);
  zygote.wait_for_spares(1);
  const auto spares = zygote.spares();
  ASSERT_EQ(spares.size(), 1u);
  const auto look_from = [](ExecutorUnderTest& executor) {
    executor.open_all(TEST_FUNCTIONS, {"surroundings"});
    const auto arena = Arena::create(1u << 20).value_or_throw();
    auto channel = executor.connect(0, arena).value_or_throw();
    auto* out = static_cast<Surroundings*>(arena->allocate(sizeof(Surroundings)));
    const CallResult result = call(channel, 0, nullptr, 0, out, sizeof(Surroundings));
    EXPECT_EQ(result.status, Status::kOk) << result.error;
    return *out;
  };
  ExecutorUnderTest warm = zygote.spawn();
  EXPECT_EQ(warm.pid, spares[0]);
  const Surroundings of_warm = look_from(warm);

  ZygoteUnderTest without;
  ExecutorUnderTest bare = without.spawn();
  const Surroundings of_bare = look_from(bare);
  EXPECT_EQ(of_warm.uid, of_bare.uid);
  EXPECT_EQ(of_warm.no_new_privs, of_bare.no_new_privs);
  EXPECT_EQ(of_warm.open_files, of_bare.open_files);
  EXPECT_EQ(of_warm.cores, of_bare.cores);
  EXPECT_EQ(of_warm.core_dump_bytes, of_bare.core_dump_bytes);
  EXPECT_EQ(of_warm.oom_score, of_bare.oom_score);
}

TEST(Spares, AreMadeAgainWhenTheyAreTakenOrKilled) {
  ZygoteUnderTest zygote;
  zygote.allow_spares(1);
  zygote.wait_for_spares(1);
  const ExecutorUnderTest first = zygote.spawn();
  zygote.wait_for_spares(0);
  zygote.wait_for_spares(1);
  const auto spares = zygote.spares({first.pid});
  ASSERT_EQ(spares.size(), 1u);
  ASSERT_EQ(::kill(spares[0], SIGKILL), 0);
  zygote.wait_for_spares(0);
  zygote.wait_for_spares(1);
  EXPECT_NE(zygote.spares({first.pid}), spares);
  EXPECT_FALSE(ended_within(first.pidfd.get(), 0ms));
}

TEST(Spares, AreGivenUpWhenTheyKeepDying) {
  ZygoteUnderTest zygote;
  zygote.allow_spares(1);
  for (int i = 0; i < 8; ++i) {
    zygote.wait_for_spares(1);
    ASSERT_EQ(::kill(zygote.spares().at(0), SIGKILL), 0);
    zygote.wait_for_spares(0);
  }
  // Another one would be made before the zygote turns to this order, or never.
  const ExecutorUnderTest executor = zygote.spawn();
  EXPECT_TRUE(zygote.spares({executor.pid}).empty());
}

TEST(Spares, EndWhenNoneIsAllowedAnyMore) {
  ZygoteUnderTest zygote;
  zygote.allow_spares(2);
  const ExecutorUnderTest first = zygote.spawn();
  const ExecutorUnderTest second = zygote.spawn();
  zygote.wait_for_spares(2);
  const base::Fd spare = watch_process(zygote.spares({first.pid, second.pid}).at(0));
  zygote.allow_spares(0);
  zygote.wait_for_spares(0);
  EXPECT_TRUE(ended_within(spare.get(), kPatience));
  EXPECT_GT(zygote.spawn().pid, 0);
}

TEST(Spares, EndWithTheirZygote) {
  for (const bool killed : {true, false}) {
    ZygoteUnderTest zygote;
    zygote.allow_spares(1);
    zygote.wait_for_spares(1);
    const base::Fd spare = watch_process(zygote.spares().at(0));
    if (killed) {
      ASSERT_EQ(::kill(zygote.pid(), SIGKILL), 0);
    } else {
      EXPECT_EQ(zygote.close_and_wait(), 0);
    }
    EXPECT_TRUE(ended_within(spare.get(), kPatience));
  }
}

}  // namespace
}  // namespace sublet::executor
