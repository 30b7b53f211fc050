#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace sublet::manager {

enum class ZygoteFor : std::uint8_t {
  kApplication,  ///< The one that this process belongs to: functions print where it prints.
  kCluster,      ///< Functions get nothing of this process: see leave_manager() of the executor.
};

/// What keeps executors from the rest of the node: see the executor's Zygote::Isolation.
enum class Isolation : std::uint8_t { kProcess, kSandbox };

/// A zygote that runs: `sublet-executor --zygote`. It kills its executors and ends when `socket`
/// closes. Owner: the executor manager.
struct ZygoteProcess {
  pid_t pid = -1;
  base::Fd socket;
  double ticks_per_ns = 1;
  ZygoteFor whom = ZygoteFor::kApplication;
  Isolation isolation = Isolation::kProcess;
  base::Fd output;       ///< What its executors print; none for a zygote of this user's alone.
  rlimit descriptors{};  ///< Its limit: what this process had before it raised its own.
};

/// Starts a zygote and waits until it is ready (about 10 ms). The zygote is a program of its own,
/// so it has one thread whatever this process has. `descriptors`: its limit of them; as this
/// process has it where nothing is said.
Result<ZygoteProcess> start_zygote(ZygoteFor whom, Isolation isolation = Isolation::kProcess,
                                   std::optional<rlimit> descriptors = std::nullopt);

/// $SUBLET_EXECUTOR, else ../libexec/sublet/sublet-executor or sublet-executor, seen from this
/// program.
Result<std::string> find_executor();

}  // namespace sublet::manager
