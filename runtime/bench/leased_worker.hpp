#pragma once

#include "cpus.hpp"
#include "options.hpp"
#include <sublet/sublet.hpp>

#include <chrono>
#include <cstdint>
#include <string>

namespace sublet::bench {

/// Opens the session of a benchmark: the manager that was named, or a private one that offers the
/// worker's core alone.
Result<Session> open_session(const CommonOptions& options);

/// The library with the functions that the benchmarks call, found beside the `sublet` command.
Result<std::string> bench_library();

/// One worker with `echo` loaded.
struct LeasedWorker {
  Lease lease;
  Function echo;
  CpuPair cpus;  ///< Where the worker is and the client should be.
};

struct WorkerRequest {
  std::chrono::milliseconds hot_timeout{-1};
  std::uint32_t slots = 16;
};

/// Leases one worker and finds out where it runs. kInvalid when that is not where the user wants
/// it, kUnsupported when it is not on this node.
Result<LeasedWorker> lease_worker(Session& session, const CommonOptions& options,
                                  const WorkerRequest& request);

}  // namespace sublet::bench
