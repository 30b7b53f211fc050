#pragma once

#include "agreement.hpp"

#include <mpi.h>
#include <sched.h>

#include <cstdint>
#include <string>

namespace sublet::mpi {

/// Where a private manager of rank 0 may run workers. mpirun binds each rank to a core or two; what
/// rank 0 starts would be confined to those, though the job has more.
struct JobCores {
  cpu_set_t ranks;    ///< Processors that the ranks on rank 0's node are bound to.
  cpu_set_t allowed;  ///< Those, and what the process that launched rank 0 may use.

  /// The processors that no rank is bound to, as a list ("2-7"), when these are at least `cores`
  /// physical cores; else empty: then there is no way around sharing.
  [[nodiscard]] std::string idle_list(std::uint64_t cores) const;
};

/// Collective. The answer is rank 0's; on the others it has no processors.
JobCores gather_job_cores(MPI_Comm comm, Outcome& outcome);

/// Lets this thread, and the processes it starts, run on `processors` for as long as it lives.
class AffinityScope {
 public:
  explicit AffinityScope(const cpu_set_t& processors) noexcept;
  ~AffinityScope();
  AffinityScope(const AffinityScope&) = delete;
  AffinityScope& operator=(const AffinityScope&) = delete;

 private:
  cpu_set_t before_;
  bool changed_ = false;
};

}  // namespace sublet::mpi
