/* The same with MPI, run as a single rank. */

#include <stdio.h>
#include <string.h>
#include <sublet_mpi.h>

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Info hints = MPI_INFO_NULL;
  sublet_allocator* workers = NULL;
  MPI_Info_create(&hints);
  MPI_Info_set(hints, "sublet_manager", "unix:/nonexistent/sublet.sock");
  MPI_Info_set(hints, "sublet_allow_private", "false");
  const int error = sublet_mpi_open(MPI_COMM_WORLD, 1, hints, &workers);
  MPI_Info_free(&hints);
  puts(sublet_last_error());
  MPI_Finalize();
  return error != MPI_SUCCESS && strstr(sublet_last_error(), "/nonexistent") != NULL ? 0 : 1;
}
