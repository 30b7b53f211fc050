#pragma once

// clang-format off
// A whole cluster in one thread, from a seed: the real resource manager with its real ledger, the real
// executor managers, the client library's own code, and real Cap'n Proto connections between them, in a
// simulated network and in virtual time. Simulated are executors (processes), the network, time and the
// disk's delay; see README.md.
//
// PROTOCOL  trouble   clients lease; parts are killed, stopped, cut off and started again
//           calm      all parts run and nothing disturbs them; clients keep what they have
//           end       clients give back, and everything must be free and in the ledger
// Checked:
//   always          no core has two executors; no grant has two, or one after its end; a grant is claimed once
//   at each step    the book's free cores and memory are what its grants leave; no user is granted more
//                   cores than his quota; no request that waits, and no other wait, is overdue
//   in the calm     who holds a share, its node and the book say the same of it, each way
//   at the end      no grant, executor, open row or wait is left; the ledger has every grant once, with the
//                   core-milliseconds and calls that were, and finds nothing wrong with itself
// Two losses are allowed, and the ledger says of each row that it is not sure: what a killed executor manager
// had not told, and what one that left could tell nobody for seconds. It must not say too much of those.
// clang-format on

#include "account.hpp"
#include "client.hpp"
#include "machine.hpp"
#include "manager_process.hpp"
#include "operator.hpp"
#include "world.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace sublet::sim {

struct ClusterOptions {
  std::uint64_t seed = 1;
  std::uint32_t nodes = 50;
  std::uint32_t clients = 200;
  std::chrono::seconds trouble{8};
  bool prints = false;         ///< Every event.
  std::string directory;       ///< For the ledger; new and empty.
  bool forges_ledger = false;  ///< On purpose: each row says a millisecond too much.
};

/// What a run has come to.
struct Outcome {
  std::optional<std::string> failure;
  std::uint64_t hash = 0;  ///< Of all events: the same for the same seed.
  std::uint64_t events = 0;
  std::uint64_t leases = 0;
  std::uint64_t grants = 0;
  std::uint64_t core_ms = 0;
  std::chrono::nanoseconds time{0};
};

class Cluster {
 public:
  explicit Cluster(const ClusterOptions& options);
  ~Cluster() noexcept(false);
  KJ_DISALLOW_COPY(Cluster);

  Outcome run();

 private:
  [[nodiscard]] bool sound() const { return !world_.failure(); }
  void step(std::chrono::nanoseconds time);
  void trouble();
  void trouble_manager();
  void trouble_machine();
  void trouble_network();
  void trouble_client();
  void freeze(Process* process, std::chrono::nanoseconds time);
  void stall(const std::string& machine, std::chrono::nanoseconds time);
  /// It cannot be reached for so long.
  void disturb(const std::string& machine, std::chrono::nanoseconds time);
  [[nodiscard]] bool undisturbed(const std::string& machine) const;
  void repair();
  void calm();
  void finish();

  void check_book();
  void check_quotas();
  void check_shares();
  [[nodiscard]] std::set<std::string> disagreements();
  void check_end();
  Machine& any_machine() { return *machines_[world_.dice.pick(options_.nodes)]; }
  Client& any_client() { return *clients_[world_.dice.pick(options_.clients)]; }

  ClusterOptions options_;
  std::chrono::nanoseconds calm_since_{0};
  std::map<std::string, std::chrono::nanoseconds> disturbed_until_;
  const Process* checked_ = nullptr;  ///< The manager, by the last check of quotas.
  std::set<manager::GrantKey> seen_;  ///< In its book then.
  Time checked_at_{};
  World world_;
  Account account_;
  ManagerProcess manager_;
  std::vector<std::unique_ptr<Machine>> machines_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::unique_ptr<Operator> operator_;
};

}  // namespace sublet::sim
