// Requests that are open when MPI is finalised, and use afterwards. One test, because it can be had
// once in a process.

#include "world.hpp"

#include <sublet_mpi.h>

#include <string>

namespace sublet::mpi {
namespace {

TEST(RequestFinalize, EndsWhatIsOpen) {
  auto workers = Allocator::create(MPI_COMM_WORLD, options_for_any_machine()).value_or_throw();
  // One lease that ends with MPI, and one that knows nothing of it.
  auto session = Session::open(options_for_any_machine().session).value_or_throw();
  LeaseRequest wanted;
  wanted.arena_bytes = std::uint64_t{16} << 20;
  auto own = session.lease(wanted).value_or_throw();
  Function of_mpi = workers.lease().function(SUBLET_TEST_FUNCTIONS, "await_file").value_or_throw();
  Function of_own = own.function(SUBLET_TEST_FUNCTIONS, "await_file").value_or_throw();
  const std::string file = "/nonexistent/file";
  int found = 0;
  int also_found = 0;
  Reply reply;
  Reply of_own_reply;
  const auto first =
      request(of_mpi.async(file.c_str(), file.size() + 1, &found, sizeof found), &reply);
  ASSERT_TRUE(first.has_value()) << first.error().what();
  const auto second = request(
      of_own.async(file.c_str(), file.size() + 1, &also_found, sizeof also_found), &of_own_reply);
  ASSERT_TRUE(second.has_value()) << second.error().what();

  MPI_Finalize();

  EXPECT_EQ(reply.status, Status::kClosed);
  EXPECT_EQ(of_own_reply.status, Status::kClosed);
  auto twice = own.function<double(double)>(SUBLET_TEST_FUNCTIONS, "twice").value_or_throw();
  const double in = 1;
  double out = 0;
  Call call = twice.async(in, out);
  const auto late = request(std::move(call));
  ASSERT_FALSE(late.has_value());
  EXPECT_NE(std::string(late.error().what()).find("finalised"), std::string::npos);
  EXPECT_TRUE(call.valid());  // NOLINT(bugprone-use-after-move): it is kept then
  EXPECT_FALSE(waitall({}, {}).has_value());
  MPI_Request none = MPI_REQUEST_NULL;
  EXPECT_EQ(sublet_mpi_request(nullptr, nullptr, &none), SUBLET_ERR_FINALIZED);
  EXPECT_EQ(sublet_waitall(0, nullptr, nullptr, 0, nullptr, nullptr), SUBLET_ERR_FINALIZED);
  EXPECT_STREQ(sublet_mpi_request_path(), "unknown");
  own.release();  // before what the call uses goes
}

}  // namespace
}  // namespace sublet::mpi
