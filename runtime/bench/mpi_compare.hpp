#pragma once

#include "cpus.hpp"
#include <sublet/result.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sublet::bench {

struct MpiRequest {
  std::size_t size_bytes = 0;
  std::uint32_t calls_per_sample = 1;
};

/// What Open MPI is told of its transport.
enum class MpiTransport {
  kDefault,   ///< Nothing: between ranks of one node, shared memory.
  kEager32k,  ///< The same with an eager limit of 32768 bytes.
  kTcp,       ///< Its TCP, over loopback.
};

/// The round trip of MPI_Send and MPI_Recv between two ranks on these cores, p50 in us for each
/// request: runs the program sublet-mpi-pingpong, found beside the `sublet` command, under mpirun.
/// kUnsupported when one of the two is not there.
Result<std::vector<double>> openmpi_pingpong(const CpuPair& cpus,
                                             const std::vector<MpiRequest>& requests,
                                             MpiTransport transport);

}  // namespace sublet::bench
