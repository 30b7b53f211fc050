// sublet-mpi-path-KIND: says, without mpirun, how this node's MPI of that kind learns of the end of
// calls that are MPI requests. `sublet doctor` runs it. Prints the MPI, the path, and what that
// means or why there is none: a line each.

#include <mpi.h>
#include <sublet_mpi.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <string>

namespace {

const char* meaning(const std::string& path) {
  if (path == "progress")
    return "MPI's progress engine looks after open requests in each wait and test";
  if (path == "poll") {
    return "MPI's waits poll each request; MPI_Wait for one request drives no messages, so wait "
           "with "
           "sublet_waitall or MPI_Waitall where there are some";
  }
  if (path == "helper") {
    return "a thread looks after open requests, and needs MPI_THREAD_MULTIPLE; sublet_waitall does "
           "without";
  }
  return sublet_last_error();
}

}  // namespace

int main() {
  std::array<char, 8192> version{};  // any MPI's MPI_MAX_LIBRARY_VERSION_STRING
  int length = 0;
  if (MPI_Get_library_version(version.data(), &length) != MPI_SUCCESS) return 1;
  std::string name(version.data(), std::strcspn(version.data(), "\n,"));
  for (char& c : name) {
    if (c == '\t') c = ' ';
  }
  const std::string path = sublet_mpi_request_path_offered();
  std::printf("%s\n%s\n%s\n", name.c_str(), path.c_str(), meaning(path));
  return 0;
}
