#include "run_seed.hpp"

#include <malloc.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace sublet::sim {
namespace {

/// In memory where that can be: what is killed here is no machine, so nothing depends on the disk.
std::string new_directory() {
  std::string path = ::access("/dev/shm", W_OK | X_OK) == 0
                         ? "/dev/shm"
                         : std::filesystem::temp_directory_path().string();
  path += "/sublet-sim-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {
    throw std::system_error(errno, std::generic_category(), "making directory " + path);
  }
  return path;
}

}  // namespace

Outcome run_seed(ClusterOptions options) {
  // Half of the time would go into giving memory back to the system and taking it again.
  ::mallopt(M_MMAP_THRESHOLD, 64 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 512 << 20);
  const std::string directory = new_directory();
  KJ_DEFER(std::filesystem::remove_all(directory));
  options.directory = directory + "/state";
  Cluster cluster(options);
  return cluster.run();
}

}  // namespace sublet::sim
