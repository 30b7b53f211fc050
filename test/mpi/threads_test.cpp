// A lease for each thread of a rank, from one collective call; and communicators that come and go.

#include "world.hpp"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace sublet::mpi {
namespace {

AllocatorOptions options_for_threads(std::uint32_t threads) {
  auto options = options_for_any_machine();
  options.threads_per_rank = threads;
  options.workers_per_rank = threads;
  return options;
}

TEST(Threads, GetALeaseEach) {
  constexpr std::uint32_t kThreads = 3;
  auto workers = Allocator::create(MPI_COMM_WORLD, options_for_threads(kThreads));
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&workers, &right, i] {
      Lease& mine = workers->lease(i);
      auto twice = mine.function<double(double)>(SUBLET_TEST_FUNCTIONS, "twice").value_or_throw();
      for (int call = 0; call < 200; ++call) {
        const auto result = twice(call);
        right += result && *result == 2.0 * call ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, 200 * static_cast<int>(kThreads));
  EXPECT_EQ(workers->lease(0).workers(), 1u);
  EXPECT_THROW((void)workers->lease(kThreads), Error);
  const auto usage = workers->usage();
  ASSERT_TRUE(usage.has_value()) << usage.error().what();
  EXPECT_GT(usage->invocations, 0u);
  workers->release();
  for (std::size_t i = 0; i < kThreads; ++i) {
    EXPECT_FALSE(workers->lease(i).function(SUBLET_TEST_FUNCTIONS, "twice").has_value());
  }
}

TEST(Threads, ShareTheWorkersOfTheRankEqually) {
  auto options = options_for_threads(2);
  options.workers_per_rank = 4;
  auto workers = Allocator::create(MPI_COMM_WORLD, options);
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  EXPECT_EQ(workers->lease(0).workers(), 2u);
  EXPECT_EQ(workers->lease(1).workers(), 2u);
  EXPECT_NE(workers->lease(0).id(), 0u);
}

TEST(Threads, AreRefusedWhereTheirWorkersCannotBeShared) {
  for (const std::uint32_t threads : {0u, 3u}) {
    auto options = options_for_threads(threads);
    options.workers_per_rank = 4;
    const std::string text =
        expect_same_failure(MPI_COMM_WORLD, Allocator::create(MPI_COMM_WORLD, options));
    EXPECT_NE(text.find("must be a multiple of threads_per_rank"), std::string::npos) << text;
  }
}

TEST(Threads, AndWorkersMustBeAsManyOnAllRanks) {
  if (size_of(MPI_COMM_WORLD) < 2) GTEST_SKIP() << "one rank agrees with itself";
  const bool is_last = rank_of(MPI_COMM_WORLD) == size_of(MPI_COMM_WORLD) - 1;
  std::string text = expect_same_failure(
      MPI_COMM_WORLD, Allocator::create(MPI_COMM_WORLD, options_for_threads(is_last ? 2 : 1)));
  EXPECT_NE(text.find("workers_per_rank differs between the ranks, from 1 to 2"), std::string::npos)
      << text;
  auto options = options_for_threads(1);
  options.workers_per_rank = 2;
  options.threads_per_rank = is_last ? 2 : 1;
  text = expect_same_failure(MPI_COMM_WORLD, Allocator::create(MPI_COMM_WORLD, options));
  EXPECT_NE(text.find("threads_per_rank differs"), std::string::npos) << text;
}

TEST(Communicators, ComeAndGoInLoops) {
  const int rank = rank_of(MPI_COMM_WORLD);
  for (int i = 0; i < 3; ++i) {
    MPI_Comm half = MPI_COMM_NULL;
    MPI_Comm_split(MPI_COMM_WORLD, (rank + i) % 2, -rank, &half);
    auto workers = Allocator::create(half, options_for_any_machine());
    ASSERT_TRUE(workers.has_value()) << workers.error().what();
    expect_works(*workers);
    MPI_Comm quarter = MPI_COMM_NULL;
    MPI_Comm_split(half, rank_of(half) % 2, rank, &quarter);
    auto more = Allocator::create(quarter, options_for_any_machine());
    ASSERT_TRUE(more.has_value()) << more.error().what();
    MPI_Comm_free(&half);  // the outer one first
    expect_works(*more);
    EXPECT_FALSE(workers->lease().function(SUBLET_TEST_FUNCTIONS, "twice").has_value());
    MPI_Comm_free(&quarter);
  }
}

TEST(Communicators, OfAGroupWithoutTheOthers) {
  MPI_Group world = MPI_GROUP_NULL;
  MPI_Group mine = MPI_GROUP_NULL;
  MPI_Comm_group(MPI_COMM_WORLD, &world);
  const int rank = rank_of(MPI_COMM_WORLD);
  MPI_Group_incl(world, 1, &rank, &mine);
  MPI_Comm alone = MPI_COMM_NULL;
  MPI_Comm_create_group(MPI_COMM_WORLD, mine, 0, &alone);
  auto workers = Allocator::create(alone, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  expect_works(*workers);
  MPI_Comm_free(&alone);
  MPI_Group_free(&mine);
  MPI_Group_free(&world);
}

TEST(Communicators, OfARankByItself) {
  auto workers = Allocator::create(MPI_COMM_SELF, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  expect_works(*workers);
  auto again = Allocator::create(MPI_COMM_SELF, options_for_any_machine());
  ASSERT_TRUE(again.has_value()) << again.error().what();
  expect_works(*again);
  expect_works(*workers);
}

}  // namespace
}  // namespace sublet::mpi
