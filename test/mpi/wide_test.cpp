// Workers of several cores for the ranks of a communicator.

#include "support/openmp_view.hpp"
#include "world.hpp"

#include <unistd.h>

#include <string>

namespace sublet::mpi {
namespace {

std::uint32_t processors() {
  return static_cast<std::uint32_t>(::sysconf(_SC_NPROCESSORS_ONLN));
}

TEST(Wide, EachRankHasWorkersOfSoManyCores) {
  if (processors() < 2) GTEST_SKIP() << "a wide worker needs two cores";
  auto options = options_for_any_machine();
  options.cores_per_worker = 2;
  auto workers = Allocator::create(MPI_COMM_WORLD, options);
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  auto look = workers->lease()
                  .function<::test::OpenmpView(std::uint8_t)>(OPENMP_FUNCTIONS, "look_around")
                  .value_or_throw();
  const auto view = look(0).value_or_throw();
  EXPECT_EQ(view.threads, 2u);
  EXPECT_EQ(view.team | view.worker, view.worker);
  EXPECT_EQ(view.bound, 0u);
  const Usage usage = workers->usage().value_or_throw();
  EXPECT_GT(usage.core_seconds, 0);
}

TEST(Wide, IsRefusedWhenRanksDoNotAgree) {
  const int ranks = size_of(MPI_COMM_WORLD);
  if (ranks < 2) GTEST_SKIP() << "one rank agrees with itself";
  auto options = options_for_any_machine();
  options.cores_per_worker = rank_of(MPI_COMM_WORLD) == ranks - 1 ? 2 : 1;
  const std::string text =
      expect_same_failure(MPI_COMM_WORLD, Allocator::create(MPI_COMM_WORLD, options));
  EXPECT_NE(text.find("cores_per_worker differs between the ranks, from 1 to 2"), std::string::npos)
      << text;
  options.cores_per_worker = 1;
  auto workers = Allocator::create(MPI_COMM_WORLD, options);
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  expect_works(*workers);
}

TEST(Wide, IsRefusedWhenNoNodeHasSoManyCores) {
  auto options = options_for_any_machine();
  options.cores_per_worker = processors() + 1;
  std::string text =
      expect_same_failure(MPI_COMM_WORLD, Allocator::create(MPI_COMM_WORLD, options));
  EXPECT_NE(text.find("no node has so many: the largest"), std::string::npos) << text;
  EXPECT_EQ(text.find("SUBLET_PRIVATE_OVERSUBSCRIBE"), std::string::npos)
      << "more of the same cores would not help: " << text;
  options.cores_per_worker = 0;
  text = expect_same_failure(MPI_COMM_WORLD, Allocator::create(MPI_COMM_WORLD, options));
  EXPECT_NE(text.find("the number of cores per worker is 0"), std::string::npos) << text;
}

}  // namespace
}  // namespace sublet::mpi
