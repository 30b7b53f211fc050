// When leases end: with their communicator, with the last handle, by release().

#include "world.hpp"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace sublet::mpi {
namespace {

Status status_of_a_call(Function& twice) {
  double in = 1;
  double out = 0;
  return twice.call(&in, sizeof in, &out, sizeof out).status;
}

/// The private managers of this user that run here: in a test of its own room, of this job.
std::size_t private_managers() {
  const std::filesystem::path directory(std::string(std::getenv("XDG_RUNTIME_DIR")) + "/sublet");
  std::size_t managers = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    managers += entry.path().filename().string().starts_with("private-") ? 1 : 0;
  }
  return managers;
}

/// Rank 0 waits until so many cores are free, which is once the executors that had them have ended.
void await_free_cores(Allocator& workers, std::uint32_t cores) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::uint32_t seen = 0;
  while (seen < cores && std::chrono::steady_clock::now() < deadline) {
    seen = workers.session().nodes().value_or_throw().front().free_cores;
  }
  EXPECT_EQ(seen, cores);
}

TEST(Lifetime, EndsWithTheCommunicator) {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  auto created = Allocator::create(comm, options_for_any_machine());
  ASSERT_TRUE(created.has_value()) << created.error().what();
  Allocator workers = std::move(*created);
  auto twice = workers.lease().function(SUBLET_TEST_FUNCTIONS, "twice").value_or_throw();
  EXPECT_EQ(status_of_a_call(twice), Status::kOk);

  MPI_Comm_free(&comm);

  EXPECT_EQ(status_of_a_call(twice), Status::kClosed);
  const auto usage = workers.usage();
  ASSERT_FALSE(usage.has_value());
  EXPECT_EQ(usage.error().kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(usage.error().what()).find("has been freed"), std::string::npos);
  EXPECT_FALSE(workers.write_trace("/dev/null").has_value());
  workers.release();
}

TEST(Lifetime, EndsTheCallsUnderWayWithTheCommunicator) {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  auto workers = Allocator::create(comm, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  auto twice = workers->lease().function(SUBLET_TEST_FUNCTIONS, "twice").value_or_throw();
  double in = 1;
  double out = 0;
  Call call = twice.async(&in, sizeof in, &out, sizeof out);
  MPI_Comm_free(&comm);
  const Status status = call.wait().status;
  EXPECT_TRUE(status == Status::kOk || status == Status::kClosed) << to_string(status);
}

TEST(Lifetime, EndsWithTheLastHandle) {
  std::optional<Function> twice;
  {
    auto workers = Allocator::create(MPI_COMM_WORLD, options_for_any_machine());
    ASSERT_TRUE(workers.has_value()) << workers.error().what();
    Allocator copy = *workers;
    twice = copy.lease().function(SUBLET_TEST_FUNCTIONS, "twice").value_or_throw();
  }
  EXPECT_EQ(status_of_a_call(*twice), Status::kClosed);
}

TEST(Lifetime, EndsOnThisRankOnlyByRelease) {
  auto workers = Allocator::create(MPI_COMM_WORLD, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  auto twice = workers->lease().function(SUBLET_TEST_FUNCTIONS, "twice").value_or_throw();
  if (rank_of(MPI_COMM_WORLD) == 0) {
    workers->release();
    workers->release();
    EXPECT_EQ(status_of_a_call(twice), Status::kClosed);
    // The last handles of the session whose private manager all ranks use.
    *workers = Allocator();
    twice = Function();
  }
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank_of(MPI_COMM_WORLD) != 0) {
    for (int i = 0; i < 20; ++i) EXPECT_EQ(status_of_a_call(twice), Status::kOk);
  }
}

TEST(Lifetime, LeasesAgainAndAgainOnOneCommunicator) {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  for (int i = 0; i < 6; ++i) {
    auto workers = Allocator::create(comm, options_for_any_machine());
    ASSERT_TRUE(workers.has_value()) << workers.error().what();
    expect_works(*workers);
    EXPECT_EQ(private_managers(), 1u);
    MPI_Barrier(comm);
  }
  auto first = Allocator::create(comm, options_for_any_machine());
  auto second = Allocator::create(comm, options_for_any_machine());
  ASSERT_TRUE(first.has_value() && second.has_value());
  expect_works(*first);
  expect_works(*second);
  MPI_Comm_free(&comm);
  auto twice = first->lease().function(SUBLET_TEST_FUNCTIONS, "twice");
  EXPECT_FALSE(twice.has_value());
}

TEST(Lifetime, BeginsAndEndsOnSeveralThreadsAtOnce) {
  int level = MPI_THREAD_SINGLE;
  MPI_Query_thread(&level);
  if (level < MPI_THREAD_MULTIPLE) GTEST_SKIP() << "this MPI has no MPI_THREAD_MULTIPLE";
  std::array<MPI_Comm, 3> comms{};
  for (MPI_Comm& comm : comms) MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  std::vector<std::thread> threads;
  threads.reserve(comms.size());
  for (MPI_Comm& comm : comms) {
    threads.emplace_back([&comm] {
      for (int i = 0; i < 3; ++i) {
        MPI_Comm mine = MPI_COMM_NULL;
        MPI_Comm_dup(comm, &mine);
        auto workers = Allocator::create(mine, options_for_any_machine());
        ASSERT_TRUE(workers.has_value()) << workers.error().what();
        expect_works(*workers);
        MPI_Comm_free(&mine);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (MPI_Comm& comm : comms) MPI_Comm_free(&comm);
}

TEST(Lifetime, IsNotInheritedByADuplicateOfTheCommunicator) {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm copy = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  auto workers = Allocator::create(comm, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  MPI_Comm_dup(comm, &copy);
  MPI_Comm_free(&copy);
  expect_works(*workers);
  MPI_Comm_free(&comm);
}

TEST(Lifetime, GivesTheCoresBackWhenTheCommunicatorIsFreed) {
  // All ranks use the manager of `keeper`, so that what one lease holds another cannot have.
  const MPI_Comm world = MPI_COMM_WORLD;
  const bool asks = rank_of(world) == 0;
  auto options = options_for_any_machine();
  auto keeper = Allocator::create(world, options);
  ASSERT_TRUE(keeper.has_value()) << keeper.error().what();
  std::uint32_t free_cores = 0;
  if (asks) {
    options.session.manager = keeper->session().manager_address();
    options.session.manager.erase(options.session.manager.find(" (private)"));
    free_cores = keeper->session().nodes().value_or_throw().front().free_cores;
    options.workers_per_rank = free_cores / static_cast<std::uint32_t>(size_of(world));
  }
  MPI_Bcast(&options.workers_per_rank, 1, MPI_UINT32_T, 0, world);
  for (int i = 0; i < 2; ++i) {
    MPI_Comm comm = MPI_COMM_NULL;
    MPI_Comm_dup(world, &comm);
    auto all = Allocator::create(comm, options);
    ASSERT_TRUE(all.has_value()) << all.error().what();
    const std::string text = expect_same_failure(world, Allocator::create(world, options));
    EXPECT_NE(text.find("no workers for the communicator"), std::string::npos) << text;
    MPI_Comm_free(&comm);
    if (asks) await_free_cores(*keeper, free_cores);
    MPI_Barrier(world);  // rank 0 counts while all ranks keep what `keeper` holds
  }
}

}  // namespace
}  // namespace sublet::mpi
