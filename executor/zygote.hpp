#pragma once

#include <base/fd.hpp>
#include <executor/function_table.hpp>
#include <sublet/result.hpp>
#include <topology/topology.hpp>
#include <wire/executor_packets.hpp>

#include <sys/types.h>

#include <memory>
#include <vector>

namespace sublet::executor {

/// The parent of a node's executors: one thread that forks them when its manager asks, and tells
/// the manager of their end. What takes long to set up (the topology, the tick rate) it has, so
/// that a fork has it too. See executor_protocol.hpp.
///
/// Owner: main(). Ends when the manager's end of the socket closes, after its executors.
class Zygote {
 public:
  static Result<std::unique_ptr<Zygote>> start(base::Fd manager);

  /// Serves until the manager has gone. The error says what of the system failed.
  Result<void> run();

 private:
  Zygote(base::Fd manager, base::Fd signals, topology::Topology topology)
      : manager_(std::move(manager)),
        signals_(std::move(signals)),
        topology_(std::move(topology)),
        functions_(std::make_unique<FunctionTable>()) {}

  /// False when the manager has gone.
  bool read_manager();
  void spawn(wire::ReceivedMessage message);
  static Result<std::unique_ptr<Zygote>> prepare(base::Fd& manager);
  void kill_executor(const wire::ReceivedMessage& message);
  [[nodiscard]] Result<pid_t> fork_executor(const wire::Spawn& order,
                                            const std::vector<topology::Cpuset>& cores,
                                            std::vector<base::Fd> fds);
  static void settle(const wire::Spawn& order, const std::vector<topology::Cpuset>& cores);
  [[noreturn]] void become_executor(const wire::Spawn& order,
                                    const std::vector<topology::Cpuset>& cores,
                                    std::vector<base::Fd> fds, pid_t zygote);
  void reap();
  void kill_adopted();
  void end_all();

  base::Fd manager_;
  base::Fd signals_;  ///< signalfd: SIGCHLD.
  topology::Topology topology_;
  std::unique_ptr<FunctionTable> functions_;
  std::vector<pid_t> executors_;
  std::uint32_t home_of_ = ~std::uint32_t{0};  ///< Whose HOME the environment names; ~0: ours.
};

}  // namespace sublet::executor
