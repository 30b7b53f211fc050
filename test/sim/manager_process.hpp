#pragma once

#include "server.hpp"
#include "world.hpp"
#include <resource_manager/resource_manager_service.hpp>

#include <ledger/ledger.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sublet::sim {

class SimulatedDisk;

/// The runs of the real resource manager, one after the other, with the real ledger in a file.
///
/// Owner: the cluster. Only from outside the loop's events.
class ManagerProcess {
 public:
  /// How many cores each user may hold: less than the cluster has, and all users' together more.
  static constexpr std::uint64_t kQuotaCores = 40;

  /// Keeps its ledger in `directory`.
  ManagerProcess(World& world, std::string directory);
  ~ManagerProcess() noexcept(false);
  KJ_DISALLOW_COPY(ManagerProcess);

  void start();
  /// What is not on disk is lost.
  void kill() { end(true); }
  /// SIGTERM.
  void stop() { end(false); }

  /// Null while none runs.
  [[nodiscard]] manager::ResourceManagerService* service() noexcept { return service_.get(); }
  [[nodiscard]] Process* process() noexcept { return process_; }

  /// The whole ledger. None runs.
  [[nodiscard]] std::vector<wire::LedgerRow> rows() const;
  [[nodiscard]] wire::LedgerCheck check() const;

 private:
  void end(bool killed);
  [[nodiscard]] std::string file() const { return directory_ + "/ledger.db"; }

  World& world_;
  std::string directory_;
  Process* process_ = nullptr;
  std::shared_ptr<SimulatedDisk> disk_;
  kj::Own<manager::Ledger> ledger_;
  kj::Own<manager::ResourceManagerService> service_;
  std::unique_ptr<Server> server_;
};

}  // namespace sublet::sim
