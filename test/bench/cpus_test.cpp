#include <bench/cpus.hpp>
#include <gtest/gtest.h>
#include <sched.h>

namespace sublet::bench {
namespace {

bool mentions(const Error& error, const std::string& part) {
  return std::string(error.what()).find(part) != std::string::npos;
}

TEST(Cpus, AreRefusedWhenTheProcessMayUseOnlyOne) {
  const auto pair = choose_cpu_pair({3});
  ASSERT_FALSE(pair);
  EXPECT_TRUE(mentions(pair.error(), "two cores")) << pair.error().what();
  EXPECT_TRUE(mentions(pair.error(), "core 3")) << pair.error().what();
}

TEST(Cpus, AreChosenDifferent) {
  // Numbers no machine has: no two of them are threads of one core.
  const auto pair = choose_cpu_pair({60001, 60002});
  ASSERT_TRUE(pair) << pair.error().what();
  EXPECT_EQ(pair->client, 60001);
  EXPECT_EQ(pair->worker, 60002);
}

TEST(Cpus, GiveTheClientAnotherCoreThanTheWorkers) {
  const auto pair = choose_client_for(60001, {60001, 60002});
  ASSERT_TRUE(pair) << pair.error().what();
  EXPECT_EQ(pair->client, 60002);
  EXPECT_EQ(pair->worker, 60001);
  EXPECT_FALSE(choose_client_for(60001, {60001}));
}

TEST(Cpus, AreReadAsClientAndWorker) {
  const auto pair = parse_cpu_pair("7,2", {2, 7});
  ASSERT_TRUE(pair) << pair.error().what();
  EXPECT_EQ(pair->client, 7);
  EXPECT_EQ(pair->worker, 2);
}

TEST(Cpus, AreRefusedWhenTheyAreNotTwoAllowedCores) {
  for (const std::string bad :
       {"", "1", "1,", ",1", "1,2,3", "a,b", "1;2", "-1,2", "1, 2", "1.5,2"}) {
    const auto pair = parse_cpu_pair(bad, {1, 2, 3});
    ASSERT_FALSE(pair) << bad;
    EXPECT_TRUE(mentions(pair.error(), "two core numbers")) << pair.error().what();
  }
  const auto same = parse_cpu_pair("1,1", {1, 2});
  ASSERT_FALSE(same);
  EXPECT_TRUE(mentions(same.error(), "a core each")) << same.error().what();
  const auto foreign = parse_cpu_pair("1,9", {1, 2});
  ASSERT_FALSE(foreign);
  EXPECT_TRUE(mentions(foreign.error(), "core 9 is not one")) << foreign.error().what();
  EXPECT_TRUE(mentions(foreign.error(), "1,2")) << foreign.error().what();
}

TEST(Cpus, TakeTheFirstOfAList) {
  EXPECT_EQ(first_cpu("3").value_or(-1), 3);
  EXPECT_EQ(first_cpu("2-5,7").value_or(-1), 2);
  EXPECT_FALSE(first_cpu(""));
  EXPECT_FALSE(first_cpu("all"));
}

TEST(Cpus, ShareACoreWithThemselvesOnly) {
  const auto allowed = allowed_cpus();
  ASSERT_TRUE(allowed) << allowed.error().what();
  ASSERT_FALSE(allowed->empty());
  EXPECT_FALSE(share_a_core(allowed->front(), 60001));
}

TEST(PinnedThread, GoesBackToTheCoresItHad) {
  const auto before = allowed_cpus();
  ASSERT_TRUE(before) << before.error().what();
  const int cpu = before->back();
  {
    const auto pinned = PinnedThread::on(cpu);
    ASSERT_TRUE(pinned) << pinned.error().what();
    EXPECT_EQ(allowed_cpus().value_or(std::vector<int>{}), std::vector<int>{cpu});
  }
  EXPECT_EQ(allowed_cpus().value_or(std::vector<int>{}), *before);
}

TEST(PinnedThread, SaysWhenTheCoreIsNotThere) {
  const auto pinned = PinnedThread::on(60001);
  ASSERT_FALSE(pinned);
  EXPECT_TRUE(mentions(pinned.error(), "60001")) << pinned.error().what();
}

}  // namespace
}  // namespace sublet::bench
