// For node_leaves.sh: the node that is granted first leaves before a rank can claim its worker.

#include "world.hpp"

namespace sublet::mpi {
namespace {

TEST(NodeLeaves, BetweenGrantAndClaimWithoutHarmWhereAnotherHasRoom) {
  auto options = options_for_any_machine();
  options.placement = Placement::kSpread;
  auto workers = Allocator::create(MPI_COMM_WORLD, options);
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  expect_works(*workers);
}

}  // namespace
}  // namespace sublet::mpi
