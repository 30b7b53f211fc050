// One rank's environment is wrong (mpirun gives it another one than the others): all ranks learn
// which rank and why, and go on. SUBLET_TEST_WRONG_RANK says which, SUBLET_TEST_WRONG_TEXT what the
// error has to mention.

#include "world.hpp"

#include <cstdlib>

namespace sublet::mpi {
namespace {

TEST(OneRank, FailsForAllWithWhatIsWrongOnIt) {
  const std::string rank = std::getenv("SUBLET_TEST_WRONG_RANK");
  const std::string cause = std::getenv("SUBLET_TEST_WRONG_TEXT");
  AllocatorOptions options = options_for_any_machine();
  // As an application may set it: what the environment says of it is checked before that.
  if (const char* transport = std::getenv("SUBLET_TEST_TRANSPORT")) {
    options.session.transport = transport;
  }
  const auto created = Allocator::create(MPI_COMM_WORLD, options);
  const std::string text = expect_same_failure(MPI_COMM_WORLD, created);
  EXPECT_NE(text.find("rank " + rank), std::string::npos) << text;
  EXPECT_NE(text.find(cause), std::string::npos) << text;

  int ranks = 0;
  const int one = 1;
  MPI_Allreduce(&one, &ranks, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  EXPECT_EQ(ranks, size_of(MPI_COMM_WORLD));
}

}  // namespace
}  // namespace sublet::mpi
