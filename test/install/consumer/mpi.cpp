// An MPI application of somebody else's, built against the installed Sublet::mpi and run as a
// single rank.

#include <sublet/mpi.hpp>

#include <cstdio>
#include <cstring>
#include <string>

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  const std::string nobody = "unix:/nonexistent/sublet.sock";
  sublet::mpi::AllocatorOptions options;
  options.session.manager = nobody;
  options.session.allow_private = false;
  const auto allocator = sublet::mpi::Allocator::create(MPI_COMM_WORLD, options);
  bool refused = false;
  if (allocator.has_value()) {
    std::puts("leased from a manager that does not exist");
  } else {
    std::puts(allocator.error().what());
    refused = std::strstr(allocator.error().what(), nobody.c_str()) != nullptr;
  }
  MPI_Finalize();
  return refused ? 0 : 1;
}
