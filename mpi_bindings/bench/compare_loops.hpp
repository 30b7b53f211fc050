#pragma once

namespace sublet::mpi::bench {

/// Loops shared out between this rank, which is pinned already, and a worker on core `cpu`:
/// offload_for_2cores, offload_for_share, offload_not_worth_it, slow_worker and overlap_100us.
void compare_loops(int cpu, const char* mpi);

}  // namespace sublet::mpi::bench
