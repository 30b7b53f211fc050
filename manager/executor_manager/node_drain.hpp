#pragma once

// clang-format off
// STATES  of a node:
//           up       -> draining  begin()
//           draining -> up        cancel(), unless a signal has begun it
//           draining -> leaving   its last lease has ended
//           any      -> leaving   leave()
// clang-format on

#include <executor_manager/held_grant.hpp>
#include <sublet/result.hpp>
#include <wire/drain_report.hpp>

#include <kj/async.h>

#include <map>
#include <string>

namespace sublet::manager {

/// Whether a node is being given back, why, and what has become of its leases.
///
/// Owner: the executor manager; on its loop.
class NodeDrain {
 public:
  enum class Origin : std::uint8_t {
    kOrder,  ///< A command. It may be taken back by one.
    kHere,   ///< A signal, or what the node has found out itself.
  };

  NodeDrain();
  KJ_DISALLOW_COPY(NodeDrain);

  /// No new lease is taken.
  [[nodiscard]] bool under_way() const noexcept { return phase_ != Phase::kUp; }
  /// Why; empty while the node is up.
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }

  /// False when it is under way already: it goes on as it was begun.
  bool begin(const std::string& reason, Origin origin);
  /// False when none is under way. kInvalid says why it cannot be taken back.
  Result<bool> cancel();
  /// The node ends now, drained or not.
  void leave(const std::string& reason);

  /// A lease's share has ended.
  void note(const HeldGrant& grant);
  /// The last one has.
  void note_empty();
  /// Resolves when the node has drained: whoever owns it ends it then. Call it once.
  kj::Promise<void> drained() { return kj::mv(drained_); }
  /// Nothing when the node has not drained.
  [[nodiscard]] std::optional<wire::DrainCounts> counts() const;

 private:
  enum class Phase : std::uint8_t { kUp, kDraining, kLeaving };

  Phase phase_ = Phase::kUp;
  Origin origin_ = Origin::kOrder;
  std::string reason_;
  bool counted_ = false;                         ///< It was begun, and not taken back.
  std::map<LeaseId, HeldGrant::DrainEnd> ends_;  ///< The worst of each lease's shares.
  wire::DrainCounts calls_;                      ///< Of leases it counts none.
  kj::Own<kj::PromiseFulfiller<void>> drained_fulfiller_;
  kj::Promise<void> drained_;
};

}  // namespace sublet::manager
