// A lease that is still held when MPI is finalised, and what is left of its handles afterwards. One
// test, because it can be had once in a process.

#include "world.hpp"

namespace sublet::mpi {
namespace {

TEST(Finalize, EndsTheLeaseAndLeavesItsHandlesSafe) {
  static Allocator outlives_main =
      Allocator::create(MPI_COMM_WORLD, options_for_any_machine()).value_or_throw();
  auto twice = outlives_main.lease().function(SUBLET_TEST_FUNCTIONS, "twice").value_or_throw();
  MPI_Comm leaked = MPI_COMM_NULL;  // never freed, as happens
  MPI_Comm_dup(MPI_COMM_WORLD, &leaked);
  Allocator on_leaked = Allocator::create(leaked, options_for_any_machine()).value_or_throw();
  // The application may lease for MPI_COMM_SELF too, whose attributes end while we end ours.
  Allocator on_self = Allocator::create(MPI_COMM_SELF, options_for_any_machine()).value_or_throw();
  double in = 1;
  double out = 0;
  ASSERT_TRUE(twice.call(&in, sizeof in, &out, sizeof out).ok());

  MPI_Finalize();

  EXPECT_EQ(twice.call(&in, sizeof in, &out, sizeof out).status, Status::kClosed);
  EXPECT_FALSE(outlives_main.usage().has_value());
  EXPECT_FALSE(on_leaked.write_trace("/dev/null").has_value());
  const auto again = Allocator::create(MPI_COMM_WORLD);
  ASSERT_FALSE(again.has_value());
  EXPECT_NE(std::string(again.error().what()).find("finalised"), std::string::npos);
  on_self.release();
}

}  // namespace
}  // namespace sublet::mpi
