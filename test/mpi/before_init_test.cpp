// Without MPI_Init, and so without mpirun.

#include <sublet/mpi.hpp>

#include <gtest/gtest.h>

#include <string>

namespace sublet::mpi {
namespace {

TEST(BeforeInit, RefusesToLease) {
  const auto created = Allocator::create(MPI_COMM_WORLD);
  ASSERT_FALSE(created.has_value());
  EXPECT_EQ(created.error().kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(created.error().what()).find("MPI_Init"), std::string::npos);
}

}  // namespace
}  // namespace sublet::mpi
