// What goes wrong on all ranks, or on rank 0, is the same error everywhere, and no rank hangs.

#include "world.hpp"

namespace sublet::mpi {
namespace {

TEST(Failure, IsTheSameOnAllRanksWhenTheLeaseIsTooLarge) {
  auto options = options_for_any_machine();
  options.workers_per_rank = 4000;
  const std::string text =
      expect_same_failure(MPI_COMM_WORLD, Allocator::create(MPI_COMM_WORLD, options));
  EXPECT_NE(text.find("4000"), std::string::npos) << text;

  // The application goes on, with less.
  options.workers_per_rank = 1;
  auto workers = Allocator::create(MPI_COMM_WORLD, options);
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  expect_works(*workers);
}

TEST(Failure, IsTheSameOnAllRanksWhenNoManagerRuns) {
  auto options = options_for_any_machine();
  options.session.manager = "unix:/nonexistent/manager.sock";
  const std::string text =
      expect_same_failure(MPI_COMM_WORLD, Allocator::create(MPI_COMM_WORLD, options));
  EXPECT_NE(text.find("/nonexistent/manager.sock"), std::string::npos) << text;
}

TEST(Failure, NamesTheRankThatCannotReachItsWorkers) {
  // The last rank believes to be on another node, and insists on the workers' memory, which is out
  // of reach from there.
  const MPI_Comm comm = MPI_COMM_WORLD;
  const int last = size_of(comm) - 1;
  auto options = options_for_any_machine();
  if (rank_of(comm) == 0) options.session.manager = "";
  if (last > 0 && rank_of(comm) == last) {
    options.session.node_name = "elsewhere";
    options.session.transport = "shm";
  }
  auto created = Allocator::create(comm, options);
  if (last == 0) {
    EXPECT_TRUE(created.has_value());
    return;
  }
  const std::string text = expect_same_failure(comm, created);
  EXPECT_NE(text.find("rank " + std::to_string(last) + " could not claim"), std::string::npos)
      << text;
  // Nothing is left half done: the same communicator leases at the next attempt.
  auto workers = Allocator::create(comm, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  expect_works(*workers);
}

TEST(Failure, RefusesACommunicatorThatIsNone) {
  const auto created = Allocator::create(MPI_COMM_NULL);
  ASSERT_FALSE(created.has_value());
  EXPECT_EQ(created.error().kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(created.error().what()).find("MPI_COMM_NULL"), std::string::npos);
}

TEST(Failure, RefusesAnIntercommunicator) {
  const MPI_Comm world = MPI_COMM_WORLD;
  if (size_of(world) < 2) GTEST_SKIP() << "one rank has nobody on the other side";
  const int side = rank_of(world) % 2;
  MPI_Comm local = MPI_COMM_NULL;
  MPI_Comm inter = MPI_COMM_NULL;
  MPI_Comm_split(world, side, rank_of(world), &local);
  MPI_Intercomm_create(local, 0, world, 1 - side, 0, &inter);
  const auto created = Allocator::create(inter);
  ASSERT_FALSE(created.has_value());
  EXPECT_EQ(created.error().kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(created.error().what()).find("intercommunicator"), std::string::npos);
  MPI_Comm_free(&inter);
  MPI_Comm_free(&local);
}

TEST(Failure, IsAnErrorOrAThrowWhenTheAllocatorIsEmpty) {
  Allocator empty;
  EXPECT_FALSE(empty.valid());
  EXPECT_FALSE(empty.usage().has_value());
  EXPECT_FALSE(empty.write_trace("/dev/null").has_value());
  EXPECT_THROW((void)empty.lease(), Error);
  EXPECT_THROW((void)empty.session(), Error);
  empty.release();
}

}  // namespace
}  // namespace sublet::mpi
