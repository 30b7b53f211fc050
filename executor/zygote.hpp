#pragma once

#include <base/fd.hpp>
#include <executor/function_table.hpp>
#include <executor/spare_executors.hpp>
#include <executor/system_call_filter.hpp>
#include <sublet/result.hpp>
#include <topology/topology.hpp>
#include <wire/executor_packets.hpp>

#include <sys/types.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sublet::executor {

/// The parent of a node's executors: one thread that forks them when its manager asks, and tells
/// the manager of their end. What takes long to set up (the topology, the tick rate) it has, so
/// that a fork has it too, and it keeps some forks ready. See executor_protocol.hpp.
///
/// Owner: main(). Ends when the manager's end of the socket closes, after its executors.
class Zygote {
 public:
  enum class Isolation : std::uint8_t {
    kProcess,  ///< Executors are processes that gain no rights, and share the node's files.
    kSandbox,  ///< The same with a filter of system calls and, under root, a view of their own.
    /// The zygote is the first process of a container, and its user the functions': they have the
    /// filter, and must not look into it.
    kContainer,
  };
  static Result<std::unique_ptr<Zygote>> start(base::Fd manager, Isolation isolation);

  /// Serves until the manager has gone. The error says what of the system failed.
  Result<void> run();

 private:
  Zygote(base::Fd manager, base::Fd signals, topology::Topology topology)
      : manager_(std::move(manager)),
        signals_(std::move(signals)),
        topology_(std::move(topology)),
        functions_(std::make_unique<FunctionTable>()),
        spares_([this](base::Fd order) { become_spare(std::move(order)); }) {}

  /// False when the manager has gone.
  bool read_manager();
  void allow_spares(const wire::ReceivedMessage& message);
  void tell_spares();
  void spawn(wire::ReceivedMessage message);
  static Result<std::unique_ptr<Zygote>> prepare(base::Fd& manager, Isolation isolation);
  Result<void> isolate(Isolation isolation);
  void kill_executor(const wire::ReceivedMessage& message);
  /// A spare process, or a new one.
  [[nodiscard]] Result<SpareExecutors::Taken> get_executor(
      const wire::Spawn& order, const std::vector<topology::Cpuset>& cores,
      wire::ReceivedMessage message);
  static void settle(const wire::Spawn& order, const std::vector<topology::Cpuset>& cores);
  /// In the child: all that does not depend on whose executor it will be. `kept`: its descriptors.
  void leave_zygote(std::span<const int> kept);
  [[noreturn]] void become_spare(base::Fd order);
  [[noreturn]] void become_executor(const wire::Spawn& order,
                                    const std::vector<topology::Cpuset>& cores,
                                    std::vector<base::Fd> fds);
  void reap();
  void kill_adopted();
  void end_all();

  base::Fd manager_;
  base::Fd signals_;  ///< signalfd: SIGCHLD.
  topology::Topology topology_;
  std::unique_ptr<FunctionTable> functions_;
  std::vector<pid_t> executors_;
  SpareExecutors spares_;
  std::optional<SystemCallFilter> filter_;
  bool own_view_ = false;                      ///< Each executor has one.
  std::string view_problem_;                   ///< In an executor: why it has none after all.
  std::size_t told_spares_ = 0;                ///< The number that the manager has heard last.
  const pid_t pid_ = ::getpid();               ///< The zygote's, in its children too.
  std::uint32_t home_of_ = ~std::uint32_t{0};  ///< Whose HOME the environment names; ~0: ours.
};

}  // namespace sublet::executor
