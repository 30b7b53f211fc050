// A program with functions of its own that has forgotten sublet::init: what C's interface and MPI
// say.

#include "world.hpp"
#include <sublet/sublet.hpp>

#include <sublet_mpi.h>

#include <array>
#include <string>

namespace sublet::mpi {
namespace {

int g_handled = MPI_SUCCESS;

void note(MPI_Comm*, int* error, ...) {
  g_handled = *error;
}

TEST(ForgottenInit, IsAnErrorClassOfItsOwnOnEveryRank) {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  MPI_Errhandler handler = MPI_ERRHANDLER_NULL;
  MPI_Comm_create_errhandler(&note, &handler);
  MPI_Comm_set_errhandler(comm, handler);

  sublet_allocator* workers = nullptr;
  const int error = sublet_mpi_open(comm, 1, MPI_INFO_NULL, &workers);
  EXPECT_EQ(sublet_mpi_code(error), SUBLET_ERR_NO_INIT) << sublet_last_error();
  EXPECT_EQ(workers, nullptr);
  EXPECT_EQ(g_handled, error) << "the communicator's error handler is called";
  EXPECT_NE(std::string(sublet_last_error()).find("sublet::init"), std::string::npos);
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(error, text.data(), &length);
  EXPECT_NE(std::string(text.data()).find(sublet_error_string(SUBLET_ERR_NO_INIT)),
            std::string::npos)
      << text.data();
  // What the program calls somewhere is what makes it need init().
  if (workers != nullptr) (void)Lease().call([] { return 1; });

  MPI_Comm_free(&comm);
  MPI_Errhandler_free(&handler);
}

}  // namespace
}  // namespace sublet::mpi
