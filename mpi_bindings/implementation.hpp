#pragma once

#include <string>

namespace sublet::mpi {

/// Why nothing of this library can be used: another MPI runs in this process than the one that its
/// handles and constants are of. Empty when it can. At any time, before MPI_Init too; no other
/// function of MPI may have been given a handle before.
[[nodiscard]] const std::string& wrong_library() noexcept;

/// Why the ranks do not find each other: the launcher of another MPI has started them, so that each
/// is alone in its world. Empty when they do. Between MPI_Init and MPI_Finalize.
[[nodiscard]] const std::string& wrong_launcher() noexcept;

}  // namespace sublet::mpi
