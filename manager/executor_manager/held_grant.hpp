#pragma once

// clang-format off
// STATES  A grant on its node:
//   granted -> claimed   its holder presents it, see claim_check.hpp
//   granted -> ending    unclaimed for wire::kClaimTimeout, revoked, or the node ends
//   claimed -> ending    the client dropped its capability (released it or died), the lease
//                        expired, was revoked, its executor could not be kept alive, or the node
//                        ends
//   (kept)               of a claimed one: its client keeps it for others, who claim it with the same
//                        token, one after the other; what one has left is not there for the next
//   (ending soon)        of a claimed one: its end has been brought forward, and stays
//   (draining)           of either: the node is being given back. Unclaimed it ends at once; else
//                        its client is told, its executor ends once it is idle, and it with it.
//                        Until then it can be taken back
//   ending  -> ended     the executor's process is gone: only then are cores and memory free again
// What happens to executors meanwhile: executor_supervisor.hpp.
// clang-format on

#include <common/grant_terms.hpp>
#include <executor_manager/claim_check.hpp>
#include <executor_manager/core_inventory.hpp>
#include <executor_manager/executor_supervisor.hpp>
#include <executor_manager/node_services.hpp>
#include <wire/control.capnp.h>

#include <functional>
#include <string>
#include <vector>

namespace sublet::manager {

/// One grant. Owner: the executor manager's table and, once claimed, the client's capability. On
/// the loop.
class HeldGrant : public kj::Refcounted, private kj::TaskSet::ErrorHandler {
 public:
  enum class State : std::uint8_t { kGranted, kClaimed, kEnding, kEnded };

  /// What a drain of its node did to it; the later is the worse for its client.
  enum class DrainEnd : std::uint8_t {
    kInOrder,    ///< It ended before the time was over.
    kUnclaimed,  ///< No client had it.
    kBroken,     ///< Its executor ended by itself without having drained.
    kCutOff,     ///< The time was over.
  };

  /// Called once, when the state has become kEnded; must not destroy the grant before it returns.
  using OnEnded = std::function<void(HeldGrant&, const std::string& reason)>;

  HeldGrant(NodeServices& services, GrantTerms terms, CoreInventory::Reservation reservation,
            WorkerPlaces places, OnEnded on_ended, Issuer issuer = {});
  KJ_DISALLOW_COPY(HeldGrant);

  /// Orders the first executor and starts the clock of the claim.
  [[nodiscard]] Result<void> start();

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] const GrantTerms& terms() const noexcept { return terms_; }
  [[nodiscard]] const Issuer& issuer() const noexcept { return issuer_; }
  [[nodiscard]] bool over() const noexcept { return state_ >= State::kEnding; }
  [[nodiscard]] const std::string& end_reason() const noexcept { return end_reason_; }
  [[nodiscard]] Usage usage() const;
  [[nodiscard]] Time held_since() const noexcept { return held_since_; }
  [[nodiscard]] ExecutorSupervisor& executors() noexcept { return executors_; }
  [[nodiscard]] const ExecutorSupervisor& executors() const noexcept { return executors_; }

  /// With `keep` for others, who borrow() it.
  void claim(wire::LeaseNotices::Client notices, bool keep);
  [[nodiscard]] bool kept() const noexcept { return kept_; }
  /// Of one that is kept, to another client. kOverloaded: one has it, or has only just left.
  [[nodiscard]] Result<void> borrow(wire::LeaseNotices::Client notices);
  /// The end of who has borrowed it.
  void give_back();
  [[nodiscard]] Result<void> extend(Time expires);
  /// It ends after `left`, whatever comes; its client is told now. kInvalid: it has none.
  [[nodiscard]] Result<void> end_soon(milliseconds left, const std::string& reason);

  /// Resolves once it has ended: the process is gone and the cores are free.
  kj::Promise<void> gone();

  /// The node leaves: tells the client that it has `left`, lets calls under way end, then ends; at
  /// the latest after `left`. With `own_notice` that is its notice period, if it is less.
  void drain(const std::string& reason, milliseconds left, bool own_notice = false);
  /// Takes drain() back, and tells the client. Nothing when it does not drain or is over.
  void resume();
  /// As end(), for a node whose time to drain is over, or that ends at once.
  void cut_off(const std::string& reason);

  /// Once it has ended.
  [[nodiscard]] DrainEnd drain_end() const;
  /// Calls that have ended since drain().
  [[nodiscard]] std::uint64_t calls_since_drain() const;

  /// Ends it. The client is told unless it is the one who wants it. Idempotent.
  void end(const std::string& reason, bool tell_client);

  /// The manager goes before its executor has ended: kills it. What a call under way still holds of
  /// this does nothing any more.
  void drop() noexcept;

 private:
  kj::Promise<void> until_expiry();
  void arm_expiry();
  kj::Promise<void> tell_ending(milliseconds left, const std::string& reason, bool leaving);
  /// Those who are to be told: the client, and who has borrowed it.
  template <class Tell>
  void for_clients(Tell&& tell) {
    for (auto* const one : {&notices_, &borrower_}) {
      KJ_IF_MAYBE (client, *one) tell(*client);
    }
  }
  void finish();
  void taskFailed(kj::Exception&& exception) override;

  NodeServices& services_;
  GrantTerms terms_;
  const Issuer issuer_;
  CoreInventory::Reservation reservation_;
  OnEnded on_ended_;
  State state_ = State::kGranted;
  bool draining_ = false;
  bool cut_off_ = false;
  std::uint64_t calls_before_drain_ = 0;
  Time held_since_;
  std::string end_reason_;
  Usage final_usage_;  ///< Once kEnded.
  bool kept_ = false;
  std::string soon_;  ///< Why it ends before its time; empty: it does not.
  kj::Maybe<wire::LeaseNotices::Client> notices_;
  kj::Maybe<wire::LeaseNotices::Client> borrower_;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting_for_end_;
  Time told_expiry_{};  ///< The end that the client has been told of.
  ExecutorSupervisor executors_;
  kj::TaskSet tasks_;
  kj::Promise<void> expiry_ = nullptr;  ///< The one timer of its end; an extension replaces it.
  // While it drains: what follows once the client has been told, and when the time is over.
  kj::Promise<void> drain_told_ = nullptr;
  kj::Promise<void> drain_time_ = nullptr;
};

}  // namespace sublet::manager
