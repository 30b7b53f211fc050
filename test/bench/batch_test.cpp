#include <bench/batch.hpp>
#include <gtest/gtest.h>

namespace sublet::bench {
namespace {

/// A side that counts what is asked of it and fails at a given call.
struct CountingSide {
  std::uint64_t calls = 0;
  std::uint64_t fail_at = 0;  // 0: never
  int begun = 0;
  int ended = 0;
  int checked = 0;

  Result<void> begin() {
    ++begun;
    return {};
  }
  Result<void> end() {
    ++ended;
    return {};
  }
  bool one() noexcept { return ++calls != fail_at; }
  bool checked_one() noexcept {
    ++checked;
    return one();
  }
  [[nodiscard]] Error failure() const { return {ErrorKind::kDisconnected, "failed as told"}; }
};

TEST(Batch, TakesTheMeanOfSeveralCallsAsASample) {
  CountingSide side;
  const auto samples =
      run_batch(side, {.calls_per_sample = 7, .max_samples = 3, .warmup_calls = 5});
  ASSERT_TRUE(samples) << samples.error().what();
  EXPECT_EQ(side.begun, 1);
  EXPECT_EQ(side.ended, 1);
  ASSERT_GE(samples->size(), 1u);  // a machine that was busy for the whole of a batch takes fewer
  ASSERT_LE(samples->size(), 3u);
  EXPECT_EQ(side.calls, 5 + 7 * samples->size());
}

TEST(Batch, TakesOneSampleHoweverLongItTakes) {
  CountingSide side;
  const auto samples = run_batch(
      side, {.calls_per_sample = 1, .max_samples = 1000, .warmup_calls = 0, .gap = 2 * kBatchTime});
  ASSERT_TRUE(samples) << samples.error().what();
  EXPECT_EQ(samples->size(), 1u);
}

TEST(Batch, LooksAtAllOfTheFirstCallWhenAsked) {
  for (const bool checked : {false, true}) {
    CountingSide side;
    ASSERT_TRUE(run_batch(side, {.max_samples = 1, .warmup_calls = 5, .checked = checked}));
    EXPECT_EQ(side.checked, checked ? 1 : 0);
    EXPECT_EQ(side.calls, (checked ? 1u : 0u) + 5 + 1);
  }
}

TEST(Batch, FailsWithTheReasonOfTheSide) {
  for (const std::uint64_t fail_at :
       {1u, 2u, 9u}) {  // the first, while warming up, within a sample
    CountingSide side;
    side.fail_at = fail_at;
    const auto samples = run_batch(
        side, {.calls_per_sample = 7, .max_samples = 3, .warmup_calls = 5, .checked = true});
    ASSERT_FALSE(samples);
    EXPECT_STREQ(samples.error().what(), "failed as told");
  }
}

}  // namespace
}  // namespace sublet::bench
