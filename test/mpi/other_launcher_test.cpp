// A program of one MPI that the launcher of another has started: each process is alone, and learns
// why.

#include "world.hpp"

#include <sublet_mpi.h>

#include <cstdlib>

namespace sublet::mpi {
namespace {

void expect_names_both(const std::string& text) {
  EXPECT_NE(text.find("Open MPI"), std::string::npos) << text;
  EXPECT_NE(text.find("MPICH"), std::string::npos) << text;
  EXPECT_NE(text.find("of 2 processes"), std::string::npos) << text;
}

TEST(OtherLauncher, IsNamedInsteadOfLeasingForEachAlone) {
  ASSERT_EQ(size_of(MPI_COMM_WORLD), 1);
  const auto created = Allocator::create(MPI_COMM_WORLD, options_for_any_machine());
  ASSERT_FALSE(created.has_value());
  EXPECT_EQ(created.error().kind(), ErrorKind::kUnsupported);
  expect_names_both(created.error().what());
}

TEST(OtherLauncher, HasAnErrorClassOfItsOwn) {
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  sublet_allocator* workers = nullptr;
  const int error = sublet_mpi_open(MPI_COMM_WORLD, 1, MPI_INFO_NULL, &workers);
  EXPECT_GT(error, MPI_SUCCESS);
  EXPECT_EQ(sublet_mpi_code(error), SUBLET_ERR_OTHER_MPI);
  EXPECT_EQ(workers, nullptr);
  expect_names_both(sublet_last_error());
}

}  // namespace
}  // namespace sublet::mpi
