#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>

#include <sys/types.h>

#include <string>

namespace sublet::manager {

/// A zygote that runs: `sublet-executor --zygote`. It kills its executors and ends when `socket`
/// closes. Owner: the executor manager.
struct ZygoteProcess {
  pid_t pid = -1;
  base::Fd socket;
  double ticks_per_ns = 1;
};

/// Starts a zygote and waits until it is ready (about 10 ms). The zygote is a program of its own,
/// so it has one thread whatever this process has.
Result<ZygoteProcess> start_zygote();

/// $SUBLET_EXECUTOR, else ../libexec/sublet/sublet-executor or sublet-executor, seen from this
/// program.
Result<std::string> find_executor();

}  // namespace sublet::manager
