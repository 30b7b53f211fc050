// What the ranks of a job share, what they leave each other, and what functions see of the job.

#include "world.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cfenv>
#include <cstdlib>
#include <string>
#include <vector>

namespace sublet::mpi {
namespace {

/// Sets a variable for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    ::setenv(name, value.c_str(), 1);
  }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

double twice(Allocator& workers, double value) {
  auto function =
      workers.lease().function<double(double)>(SUBLET_TEST_FUNCTIONS, "twice").value_or_throw();
  return function(value).value_or_throw();
}

TEST(Job, KeepsItsPrivateManagerUntilTheLastRankHasEnded) {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  auto workers = Allocator::create(comm, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  const int last = size_of(MPI_COMM_WORLD) - 1;
  if (rank_of(MPI_COMM_WORLD) != last) {
    MPI_Comm_free(&comm);
    *workers = Allocator();
  }
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank_of(MPI_COMM_WORLD) == last) {
    for (int i = 0; i < 20; ++i) EXPECT_EQ(twice(*workers, i), 2 * i);
    MPI_Comm_free(&comm);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(Job, HasOnePrivateManagerForAllAllocatorsAndSessions) {
  const AllocatorOptions options = options_for_any_machine();
  auto first = Allocator::create(MPI_COMM_WORLD, options);
  auto second = Allocator::create(MPI_COMM_WORLD, options);
  ASSERT_TRUE(first.has_value()) << first.error().what();
  ASSERT_TRUE(second.has_value()) << second.error().what();
  EXPECT_NE(first->lease().id(), second->lease().id());
  if (size_of(MPI_COMM_WORLD) == 1 && ::sysconf(_SC_NPROCESSORS_ONLN) > 1) {
    EXPECT_NE(first->lease().worker(0).cpuset, second->lease().worker(0).cpuset);
  }
  auto own = Session::open(options.session);
  ASSERT_TRUE(own.has_value()) << own.error().what();
  EXPECT_TRUE(own->manager_is_private());
  EXPECT_EQ(own->manager_address(), text_of_rank_0(MPI_COMM_WORLD, own->manager_address()));
  EXPECT_EQ(own->leases().value_or_throw().size(), 2u);
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(Job, HasAnotherPrivateManagerWhenTheFirstHasEnded) {
  for (int i = 0; i < 3; ++i) {
    auto workers = Allocator::create(MPI_COMM_WORLD, options_for_any_machine());
    ASSERT_TRUE(workers.has_value()) << workers.error().what();
    EXPECT_EQ(twice(*workers, 21), 42);
  }
}

TEST(Options, AreTakenFromTheEnvironmentWhereTheProgramLeavesThemOpen) {
  const Variable oversubscribe("SUBLET_PRIVATE_OVERSUBSCRIBE", "16");
  const Variable transport("SUBLET_TRANSPORT", "tcp");
  AllocatorOptions options;
  options.workers_per_rank = static_cast<std::uint32_t>(::sysconf(_SC_NPROCESSORS_ONLN)) + 1;
  options.memory_bytes_per_rank = std::uint64_t{64} << 20;
  options.arena_bytes = std::uint64_t{16} << 20;
  auto workers = Allocator::create(MPI_COMM_WORLD, options);
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  EXPECT_EQ(workers->lease().worker(0).transport, "tcp");
}

TEST(Functions, AreNoPartOfTheJob) {
  auto workers = Allocator::create(MPI_COMM_WORLD, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  Lease& lease = workers->lease();
  auto join = lease.function<int(int)>(SUBLET_SURROUNDINGS_FUNCTIONS, "join_job").value_or_throw();
  const auto joined = join(1);
  ASSERT_FALSE(joined.has_value());
  EXPECT_NE(std::string(joined.error().what()).find("MPI_Init: functions run outside the MPI job"),
            std::string::npos)
      << joined.error().what();
  auto count = lease.function<int(int)>(SUBLET_SURROUNDINGS_FUNCTIONS, "count_job_variables")
                   .value_or_throw();
  EXPECT_EQ(count(0).value_or_throw(), 0);
  EXPECT_TRUE(std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr || std::getenv("PMI_SIZE") != nullptr)
      << "there is nothing to be seen";
}

TEST(Functions, CalculateAsIfTheyWereTheFirst) {
  auto workers = Allocator::create(MPI_COMM_WORLD, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  Lease& lease = workers->lease();
  auto up = lease.function<int(int)>(SUBLET_SURROUNDINGS_FUNCTIONS, "round_up").value_or_throw();
  auto mode = lease.function<int(int)>(SUBLET_SURROUNDINGS_FUNCTIONS, "rounding").value_or_throw();
  EXPECT_EQ(mode(0).value_or_throw(), FE_TONEAREST);
  EXPECT_EQ(up(0).value_or_throw(), 0);
  EXPECT_EQ(mode(0).value_or_throw(), FE_TONEAREST);
}

TEST(Functions, TakeInputsByValueAndTypesWithCommas) {
  struct Pair {
    double a, b;
  };
  auto workers = Allocator::create(MPI_COMM_WORLD, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  Lease& lease = workers->lease();
  auto add = lease.function<double(Pair)>(SUBLET_SURROUNDINGS_FUNCTIONS, "add").value_or_throw();
  EXPECT_EQ(add({1, 2}).value_or_throw(), 3);
  using Two = std::array<double, 2>;
  auto swap = lease.function<Two(Two)>(SUBLET_SURROUNDINGS_FUNCTIONS, "swap_pair").value_or_throw();
  EXPECT_EQ(swap({1, 2}).value_or_throw(), (Two{2, 1}));
}

}  // namespace
}  // namespace sublet::mpi
