#pragma once

#include "account.hpp"
#include "world.hpp"
#include <executor_manager/executor.hpp>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace sublet::sim {

class SimulatedExecutor;

/// A node's cores and GPUs, and which executor has each: no two may.
///
/// Owner: the machine; outlives its executors.
struct Cores {
  explicit Cores(std::uint32_t count) : users(count, nullptr) {}
  std::vector<const SimulatedExecutor*> users;
  std::map<std::string, const SimulatedExecutor*> gpu_users{};  ///< By UUID.
};

/// Executors as one run of an executor manager has them: each is ready after a while, may crash,
/// takes its time to end, and dies with its manager.
///
/// Owner: the executor manager.
class SimulatedExecutors final : public manager::ExecutorSource {
 public:
  SimulatedExecutors(World& world, Process& process, Cores& cores, Account& account,
                     const std::string& node, std::uint32_t run);

  Result<kj::Own<manager::Executor>> start(manager::ExecutorOrder&& order) override;

  /// The executor manager dies, and they with it.
  void kill_all();
  /// Kills one, as a function that crashes does; false when there is none.
  bool crash_one();

 private:
  friend class SimulatedExecutor;

  World& world_;
  Process& process_;
  Cores& cores_;
  Account& account_;
  std::string node_;
  std::uint32_t run_;  ///< Of the executor manager, on that node.
  std::vector<SimulatedExecutor*> running_;
};

}  // namespace sublet::sim
