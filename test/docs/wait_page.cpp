// Runs the code of docs/how-to/wait.md, in C++ and in C, on any number of ranks in a ring.

#include "wait_step.hpp"  // the page's block, made by CMakeLists.txt
#include <sublet/c.hpp>

#include <sublet_mpi.h>

#include <cstdio>

extern "C" int step(sublet_function* twice, const double* mine, double* result, double* halo,
                    int left);

namespace {

int failures = 0;

void check(bool right, const char* what) {
  if (right) return;
  ++failures;
  std::fprintf(stderr, "wrong: %s (%s)\n", what, sublet_last_error());
}

void run() {
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const int left = (rank + ranks - 1) % ranks;
  const int right = (rank + 1) % ranks;
  const double mine = 21;
  const double number = rank;
  sublet::mpi::AllocatorOptions options;
  options.session = sublet::SessionOptions::load().value_or_throw();
  options.session.private_oversubscribe = 16;
  auto workers = sublet::mpi::Allocator::create(MPI_COMM_WORLD, options).value_or_throw();
  sublet::Lease lease = workers.lease();
  auto twice = lease.function<double(double)>(SUBLET_TEST_FUNCTIONS, "twice").value_or_throw();

  MPI_Request sent = MPI_REQUEST_NULL;
  MPI_Isend(&number, 1, MPI_DOUBLE, right, 0, MPI_COMM_WORLD, &sent);
  check(step(twice, mine, left) == 42 + left, "the step in C++");
  MPI_Wait(&sent, MPI_STATUS_IGNORE);

  sublet_lease* handle = sublet::c::make_handle(lease);
  sublet_function* function = nullptr;
  double result = 0;
  double halo = -1;
  check(sublet_function_open(handle, SUBLET_TEST_FUNCTIONS, "twice", nullptr, &function) ==
            SUBLET_SUCCESS,
        "the function in C");
  MPI_Isend(&number, 1, MPI_DOUBLE, right, 0, MPI_COMM_WORLD, &sent);
  check(step(function, &mine, &result, &halo, left) == 0, "the step in C");
  check(result == 42 && halo == left, "its results");
  MPI_Wait(&sent, MPI_STATUS_IGNORE);
  sublet_function_free(&function);
  sublet_lease_free(&handle);
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  try {
    run();
  } catch (const std::exception& error) {
    check(false, error.what());
  }
  MPI_Finalize();
  return failures == 0 ? 0 : 1;
}
