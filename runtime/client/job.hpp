#pragma once

#include <string>

namespace sublet::client {

/// What this process is a part of on this machine.
struct Job {
  std::string name;
  bool launched = false;  ///< By mpirun, srun, ...; false: it is this process alone.
};

/// Looked for once, and stays: MPI changes the environment when it initialises.
const Job& this_job();

/// Looks again.
Job find_job();

}  // namespace sublet::client
