#pragma once

#include "account.hpp"
#include "executors.hpp"
#include "server.hpp"
#include "world.hpp"
#include <executor_manager/executor_manager.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace sublet::sim {

/// One node: its cores, and the runs of the real executor manager on it, one after the other.
///
/// Owner: the cluster. Only from outside the loop's events, except where it says so.
class Machine {
 public:
  Machine(World& world, Account& account, std::string name, std::uint32_t cores,
          milliseconds clock_error);
  ~Machine() noexcept(false);
  KJ_DISALLOW_COPY(Machine);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Of its present boot.
  [[nodiscard]] std::string node_id() const;
  [[nodiscard]] std::uint32_t cores() const noexcept {
    return static_cast<std::uint32_t>(cores_.users.size());
  }
  /// Null while none runs.
  [[nodiscard]] manager::ExecutorManager* manager() noexcept { return manager_.get(); }
  [[nodiscard]] Process* process() noexcept { return process_; }

  void start();
  void kill();
  /// Loses power, and boots again when it is started.
  void vanish();
  /// SIGTERM: drains for so long, then ends.
  void stop(milliseconds drain_time);
  bool crash_an_executor() { return executors_ != nullptr && executors_->crash_one(); }
  /// Removes the executor manager when it has ended by itself. `heard`: its last words must have
  /// been.
  void remove_ended(bool heard);

 private:
  void end(bool silently);

  World& world_;
  Account& account_;
  std::string name_;
  Cores cores_;
  milliseconds clock_error_;
  std::uint32_t boots_ = 1;
  std::uint32_t runs_ = 0;
  bool ended_ = false;
  Process* process_ = nullptr;
  SimulatedExecutors* executors_ = nullptr;  ///< The manager's.
  kj::Own<manager::ExecutorManager> manager_;
  std::unique_ptr<Server> server_;
  kj::Promise<void> life_ = nullptr;
};

/// How all node ids begin: by these, clients may reach every node by its Unix socket's name.
inline constexpr const char* kMachines = "boot.1.sim/";
/// Where the resource manager of a simulation is.
inline constexpr const char* kManagerAddress = "unix:@manager";

}  // namespace sublet::sim
