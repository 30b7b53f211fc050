#include "run_seed.hpp"

#include "support/temp_directory.hpp"

namespace sublet::sim {

Outcome run_seed(ClusterOptions options) {
  const test::TempDirectory directory;
  options.directory = directory.path() + "/state";
  Cluster cluster(options);
  return cluster.run();
}

}  // namespace sublet::sim
