#pragma once

#include "attachment.hpp"
#include <sublet/mpi.hpp>

namespace sublet::mpi {

/// What one rank has of a lease for all.
struct Created {
  Session session;
  Lease lease;
};

/// Leases workers for each rank. Collective; gives up together: on all ranks or on none.
Result<Created> lease_for_ranks(Attachment& attachment, const AllocatorOptions& options);

}  // namespace sublet::mpi
