// Simulated clusters from many seeds. One that fails is run again with `./dev sim --seed S`.

#include "run_seed.hpp"
#include <base/log.hpp>

#include <gtest/gtest.h>

#include <string>

namespace sublet::sim {
namespace {

class SimulationTest : public testing::TestWithParam<int> {
 protected:
  static void SetUpTestSuite() { base::log().set_level(spdlog::level::off); }
};

constexpr int kParts = 8;
constexpr int kSeedsOfEach = 25;

TEST_P(SimulationTest, KeepsWhatItPromises) {
  for (int i = 0; i < kSeedsOfEach; ++i) {
    ClusterOptions options;
    options.seed = 1 + static_cast<std::uint64_t>(GetParam() * kSeedsOfEach + i);
    const Outcome outcome = run_seed(options);
    ASSERT_FALSE(outcome.failure) << *outcome.failure << "\nagain: ./dev sim --seed "
                                  << options.seed;
    ASSERT_GT(outcome.grants, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SimulationTest, testing::Range(0, kParts));

TEST(SimulatedCluster, RunsTheSameFromTheSameSeed) {
  base::log().set_level(spdlog::level::off);
  ClusterOptions options;
  options.seed = 4711;
  const Outcome once = run_seed(options);
  const Outcome again = run_seed(options);
  EXPECT_EQ(once.hash, again.hash);
  EXPECT_EQ(once.events, again.events);
  options.seed = 4712;
  EXPECT_NE(run_seed(options).hash, once.hash);
}

TEST(SimulatedCluster, FindsALedgerThatIsOffByOneMillisecond) {
  base::log().set_level(spdlog::level::off);
  ClusterOptions options;
  options.seed = 4711;
  options.forges_ledger = true;
  const Outcome outcome = run_seed(options);
  ASSERT_TRUE(outcome.failure);
  EXPECT_NE(outcome.failure->find("core-ms, and the ledger has"), std::string::npos)
      << *outcome.failure;
}

}  // namespace
}  // namespace sublet::sim
