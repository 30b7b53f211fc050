// GPUs for the ranks of a communicator: names in a list, as in test/system/gpus_test.cpp.

#include "support/temp_directory.hpp"
#include "system/functions/gpu_view.hpp"
#include "world.hpp"

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <vector>

namespace sublet::mpi {
namespace {

TEST(Gpus, OfEachRankAreItsOwn) {
  const int ranks = size_of(MPI_COMM_WORLD);
  const test::TempDirectory directory;
  if (rank_of(MPI_COMM_WORLD) == 0) {  // which starts the private manager
    const std::string list = directory.path() + "/gpus";
    std::ofstream file(list);
    for (int rank = 0; rank < ranks; ++rank) file << "GPU-of-no-machine-" << rank << "\n";
    ::setenv("SUBLET_PRIVATE_MANAGER_GPUS", list.c_str(), 1);
    ::unsetenv("CUDA_VISIBLE_DEVICES");
  }
  auto options = options_for_any_machine();
  options.gpus_per_worker = 1;
  auto workers = Allocator::create(MPI_COMM_WORLD, options);
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  auto look = workers->lease()
                  .function<test::GpuView(std::uint8_t)>(GPU_VIEW_FUNCTIONS, "look_at_gpus")
                  .value_or_throw();
  const auto view = look(0).value_or_throw();
  EXPECT_EQ(std::vector<std::string>{view.cuda.data()}, workers->lease().worker(0).gpus);
  std::vector<test::GpuView> all(static_cast<std::size_t>(ranks));
  MPI_Allgather(&view, sizeof(view), MPI_BYTE, all.data(), sizeof(view), MPI_BYTE, MPI_COMM_WORLD);
  std::set<std::string> seen;
  for (const test::GpuView& one : all) {
    EXPECT_EQ(std::string(one.cuda.data()).rfind("GPU-of-no-machine-", 0), 0u) << one.cuda.data();
    EXPECT_TRUE(seen.insert(one.cuda.data()).second) << one.cuda.data() << " is two ranks'";
  }
  EXPECT_GT(workers->usage().value_or_throw().gpu_seconds, 0);
  // There is none left.
  const std::string text =
      expect_same_failure(MPI_COMM_WORLD, Allocator::create(MPI_COMM_WORLD, options));
  EXPECT_NE(text.find("0 GPUs"), std::string::npos) << text;
}

TEST(Gpus, AreRefusedWhenRanksDoNotAgree) {
  const int ranks = size_of(MPI_COMM_WORLD);
  if (ranks < 2) GTEST_SKIP() << "one rank agrees with itself";
  auto options = options_for_any_machine();
  options.gpus_per_worker = rank_of(MPI_COMM_WORLD) == ranks - 1 ? 1 : 0;
  const std::string text =
      expect_same_failure(MPI_COMM_WORLD, Allocator::create(MPI_COMM_WORLD, options));
  EXPECT_NE(text.find("gpus_per_worker differs between the ranks, from 0 to 1"), std::string::npos)
      << text;
}

}  // namespace
}  // namespace sublet::mpi
