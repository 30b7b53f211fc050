#pragma once

#include "agreement.hpp"
#include "attachment.hpp"
#include <sublet/mpi.hpp>

#include <vector>

namespace sublet::mpi {

/// What one rank has of a lease for all.
struct Created {
  Session session;
  std::vector<Lease> leases;  ///< One for each of its threads.
};

/// Collective: notes an error, on all ranks, when they have asked for different numbers of workers,
/// threads or cores per worker.
void note_differences(MPI_Comm comm, const AllocatorOptions& options, Outcome& outcome);

/// Leases workers for each rank. Collective; gives up together: on all ranks or on none.
Result<Created> lease_for_ranks(Attachment& attachment, const AllocatorOptions& options);

}  // namespace sublet::mpi
