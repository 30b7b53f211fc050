#pragma once

#include <sublet/result.hpp>

#include <string>
#include <vector>

namespace sublet::cli {

/// How calls that are MPI requests let an MPI of this node know of their end.
struct MpiPath {
  std::string kind;  ///< "openmpi", "mpich" or "other": of Sublet's MPI layer.
  std::string mpi;   ///< As it calls itself, for instance "Open MPI v4.1.4".
  std::string path;  ///< As sublet_mpi_request_path() says.
  std::string text;  ///< What that means, or why it is "none".
};

/// One for each MPI layer that is built or installed with this command; an error where its MPI does
/// not run here. Starts a program of each, which does not initialise MPI.
struct MpiPathAnswer {
  std::string kind;
  Result<MpiPath> path;
};
[[nodiscard]] std::vector<MpiPathAnswer> mpi_paths();

}  // namespace sublet::cli
