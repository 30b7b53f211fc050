#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sublet::manager {

enum class ZygoteFor : std::uint8_t {
  kApplication,  ///< The one that this process belongs to: functions print where it prints.
  kCluster,      ///< Functions get nothing of this process: see leave_manager() of the executor.
};

/// What keeps executors from the rest of the node: see the executor's Zygote::Isolation.
/// kContainer: this one's executors, of which none has loaded a library yet, are in a sandbox.
enum class Isolation : std::uint8_t { kProcess, kSandbox, kContainer };

/// Where a zygote finds its end of the socket.
inline constexpr int kZygoteFd = 3;

/// A zygote that runs: `sublet-executor --zygote`. It kills its executors and ends when `socket`
/// closes. Owner: the executor manager.
struct ZygoteProcess {
  pid_t pid = -1;
  base::Fd socket;
  double ticks_per_ns = 1;
  ZygoteFor whom = ZygoteFor::kApplication;
  Isolation isolation = Isolation::kProcess;
  /// It runs in a container, and `pid` is what has started that. Another is not started by itself
  /// when it dies.
  bool in_container = false;
  base::Fd output;       ///< What its executors print; none for a zygote of this user's alone.
  rlimit descriptors{};  ///< Its limit: what this process had before it raised its own.
};

/// Starts a zygote and waits until it is ready (about 10 ms). The zygote is a program of its own,
/// so it has one thread whatever this process has. `descriptors`: its limit of them; as this
/// process has it where nothing is said.
Result<ZygoteProcess> start_zygote(ZygoteFor whom, Isolation isolation = Isolation::kProcess,
                                   std::optional<rlimit> descriptors = std::nullopt);

/// Starts a zygote in a container and does not wait for it: it says when it is ready, some 100 ms
/// later. `ticks_per_ns`: this node's.
Result<ZygoteProcess> start_zygote_in_container(const std::vector<std::string>& command,
                                                double ticks_per_ns);

/// Whether a variable ("NAME=VALUE") of the environment is about networks and topology.
bool configures_networks(std::string_view variable);

/// $SUBLET_EXECUTOR, else ../libexec/sublet/sublet-executor or sublet-executor, seen from this
/// program.
Result<std::string> find_executor();

}  // namespace sublet::manager
