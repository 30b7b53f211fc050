// Ranks that mpirun has bound to a core each, as it does by itself when there are two: a private
// manager that rank 0 starts is not confined to rank 0's core.

#include "world.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

namespace sublet::mpi {
namespace {

cpu_set_t affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return set;
}

TEST(Bound, HasWorkersForAllRanksWithoutSharingAnotherWorkersCore) {
  const int ranks = size_of(MPI_COMM_WORLD);
  if (::sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "needs two cores";
  const cpu_set_t before = affinity();
  ASSERT_EQ(CPU_COUNT(&before), 1) << "this test is for ranks that are bound to a core";

  AllocatorOptions options;
  options.session = SessionOptions::load().value_or_throw();
  auto workers = Allocator::create(MPI_COMM_WORLD, options);
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  expect_works(*workers);

  const int mine = std::stoi(workers->lease().worker(0).cpuset);
  std::vector<int> all(static_cast<std::size_t>(ranks));
  MPI_Allgather(&mine, 1, MPI_INT, all.data(), 1, MPI_INT, MPI_COMM_WORLD);
  EXPECT_EQ(std::count(all.begin(), all.end(), mine), 1);
  if (ranks == 1) {
    EXPECT_FALSE(CPU_ISSET(mine, &before)) << "the worker has the rank's core though one is idle";
  }
  const cpu_set_t after = affinity();
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(Bound, SaysHowToShareCoresWhenThereAreTooFew) {
  AllocatorOptions options;
  options.session = SessionOptions::load().value_or_throw();
  options.workers_per_rank = static_cast<std::uint32_t>(::sysconf(_SC_NPROCESSORS_ONLN)) + 1;
  const std::string text =
      expect_same_failure(MPI_COMM_WORLD, Allocator::create(MPI_COMM_WORLD, options));
  EXPECT_NE(text.find("SUBLET_PRIVATE_OVERSUBSCRIBE"), std::string::npos) << text;
}

}  // namespace
}  // namespace sublet::mpi
