#pragma once

#include "agreement.hpp"
#include <sublet/lease.hpp>

#include <mpi.h>

#include <cstddef>
#include <string>
#include <vector>

namespace sublet::mpi {

/// Where the ranks of a communicator run.
struct JobCores {
  std::string ranks;      ///< Processors that the ranks on rank 0's node are bound to, as a list.
  std::size_t nodes = 0;  ///< That the ranks run on.
  std::vector<HolderKey> holders;  ///< Of each rank's session.
};

/// Collective; `holder` is this rank's. The answer is rank 0's; on the others it is empty.
JobCores gather_job_cores(MPI_Comm comm, const HolderKey& holder, Outcome& outcome);

}  // namespace sublet::mpi
