/* A program of one MPI that links the layer for another: each function says so, and touches
 * nothing. */

#include <stdio.h>
#include <string.h>
#include <sublet_mpi.h>

static int failures = 0;

static void check_refused(const char* what, int error) {
  const char* text = sublet_last_error();
  if (error == SUBLET_ERR_OTHER_MPI && strstr(text, "Open MPI") != NULL &&
      strstr(text, "MPICH") != NULL) {
    return;
  }
  ++failures;
  fprintf(stderr, "%s gives %d: %s\n", what, error, text);
}

static void check_all(const char* when) {
  sublet_allocator* workers = NULL;
  int error_class = 0;
  check_refused(when, sublet_mpi_open(MPI_COMM_WORLD, 1, MPI_INFO_NULL, &workers));
  check_refused(when, sublet_mpi_open(MPI_COMM_NULL, 1, MPI_INFO_NULL, &workers));
  check_refused(when, sublet_mpi_open_fint(0, 1, 0, &workers));
  check_refused(when, sublet_mpi_error_class(SUBLET_ERR_COUNT, &error_class));
  if (workers != NULL || sublet_mpi_free(&workers) != MPI_SUCCESS) ++failures;
}

int main(int argc, char** argv) {
  check_all("before MPI_Init");
  MPI_Init(&argc, &argv);
  int ranks = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (ranks != 2) ++failures;
  check_all("after MPI_Init");
  MPI_Finalize();
  check_all("after MPI_Finalize");
  return failures == 0 ? 0 : 1;
}
