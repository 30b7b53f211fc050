// Functions of the ranks' own program on their workers.

#include "world.hpp"
#include <sublet/sublet.hpp>

#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

namespace sublet::mpi {
namespace {

TEST(SingleSource, EveryRankCallsLambdasOnItsOwnWorker) {
  const int rank = rank_of(MPI_COMM_WORLD);
  auto workers = Allocator::create(MPI_COMM_WORLD, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  Lease& lease = workers->lease();
  for (int i = 0; i < 100; ++i) {
    const auto result = lease.call([rank](int x) { return 1000 * rank + x; }, i);
    ASSERT_TRUE(result.has_value()) << result.error().what();
    ASSERT_EQ(*result, 1000 * rank + i);
  }
  std::vector<double> values(5000, rank + 1.0);
  auto sum = lease.async(
      [](std::span<const double> v) { return std::accumulate(v.begin(), v.end(), 0.0); },
      in(values));
  double total = 0;
  const double mine = std::move(sum).value_or_throw().get().value_or_throw();
  MPI_Allreduce(&mine, &total, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  const int ranks = size_of(MPI_COMM_WORLD);
  EXPECT_EQ(total, 5000.0 * ranks * (ranks + 1) / 2);
}

TEST(SingleSource, CannotUseMpiInAFunction) {
  auto workers = Allocator::create(MPI_COMM_WORLD, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  const auto refused = workers->lease().call([] { MPI_Init(nullptr, nullptr); });
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(std::string(refused.error().what()).find("outside the MPI job"), std::string::npos)
      << refused.error().what();
  const auto left = workers->lease().call([] {
    int found = 0;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      for (const char* prefix : {"OMPI_", "PMIX_", "PMI_", "SLURM_"}) {
        found += std::strncmp(*entry, prefix, std::strlen(prefix)) == 0 ? 1 : 0;
      }
    }
    return found;
  });
  EXPECT_EQ(left.value_or(-1), 0) << "variables of the job";
}

TEST(SingleSource, CannotBeInitialisedAfterMpi) {
  try {
    sublet::init(0, nullptr);
    FAIL() << "MPI_Init has been called";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("after MPI_Init"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace sublet::mpi

int main(int argc, char** argv) {
  sublet::init(argc, argv);
  MPI_Init(&argc, &argv);
  testing::InitGoogleTest(&argc, argv);
  int failed = RUN_ALL_TESTS();
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  MPI_Finalize();
  return failed;
}
