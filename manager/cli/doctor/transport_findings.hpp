#pragma once

#include <cli/doctor/finding.hpp>

#include <string>

namespace sublet::cli {

/// Which transports this node can use, and which one calls would take, `wanted` being what the
/// option says (empty: the best one). `locks_memory`: one that can be used needs locked memory.
[[nodiscard]] Findings transport_findings(const std::string& wanted, bool& locks_memory);

/// How MPI requests of calls are completed, for each MPI that Sublet is built for. Starts a program
/// of each.
[[nodiscard]] Findings mpi_findings();

}  // namespace sublet::cli
