#pragma once

#include "cluster.hpp"

namespace sublet::sim {

/// One cluster, with its ledger in a directory that is removed afterwards. What the managers log
/// that must never be is a failure too.
Outcome run_seed(ClusterOptions options);

}  // namespace sublet::sim
