#pragma once

// STATES  A grant on its node:
//   granted -> claimed   the first client that presents its token takes it
//   granted -> ending    unclaimed for wire::kClaimTimeout, revoked, or the node ends
//   claimed -> ending    the client dropped its capability (released it or died), the lease
//   expired, was
//                        revoked, its executor could not be kept alive, or the node ends
//   (draining)           of either: the node is being given back. Unclaimed it ends at once; else
//                        its client is told, its executor ends once it is idle, and it with it
//   ending  -> ended     the executor's process is gone: only then are cores and memory free again
// In granted and claimed an executor that dies is replaced on the same cores, and the functions
// that were open are opened again, in the same order.

#include <common/grant_terms.hpp>
#include <common/manager_clock.hpp>
#include <executor_manager/core_inventory.hpp>
#include <executor_manager/executor.hpp>
#include <executor_manager/library_cache.hpp>
#include <wire/control.capnp.h>

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

/// What grants need of their executor manager. Outlives them.
struct NodeServices {
  ExecutorServices executors;
  LibraryCache& libraries;
  const ManagerClock& clock;
  std::uint32_t uid = ~std::uint32_t{0};  ///< For executors; ~0: as this process.
  std::uint32_t gid = ~std::uint32_t{0};
  std::string rdma_host{};  ///< Device or address for RDMA connections; empty: all active ports.
  std::string data_host{};  ///< Where executors take network connections; empty: all addresses.
};

/// One grant and its executor. Owner: the executor manager's table and, once claimed, the client's
/// capability. On the loop.
class HeldGrant : public kj::Refcounted, private kj::TaskSet::ErrorHandler {
 public:
  enum class State : std::uint8_t { kGranted, kClaimed, kEnding, kEnded };

  /// Called once, when the state has become kEnded; must not destroy the grant before it returns.
  using OnEnded = std::function<void(HeldGrant&, const std::string& reason)>;

  HeldGrant(NodeServices& services, GrantTerms terms, CoreInventory::Reservation reservation,
            std::vector<std::string> cpusets, OnEnded on_ended);
  KJ_DISALLOW_COPY(HeldGrant);

  /// Orders the first executor and starts the clock of the claim.
  [[nodiscard]] Result<void> start();

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] const GrantTerms& terms() const noexcept { return terms_; }
  [[nodiscard]] const std::vector<std::string>& cpusets() const noexcept { return cpusets_; }
  [[nodiscard]] bool over() const noexcept { return state_ >= State::kEnding; }
  [[nodiscard]] const std::string& end_reason() const noexcept { return end_reason_; }
  [[nodiscard]] UsageRecord usage() const;

  void claim(wire::LeaseNotices::Client notices);
  /// Lets this executor and those that replace it take connections over `transports` too. Resolves
  /// once it does, or has said why not. `host` is the address of this node that its client used.
  kj::Promise<void> open_transports(std::vector<std::string> transports, std::string host);
  void write_endpoint(wire::Endpoint::Builder to) const;

  struct FunctionRequest {
    wire::Open open{};
    std::shared_ptr<base::Fd> library;
  };
  kj::Promise<Result<void>> open(const FunctionRequest& request);

  /// Resolves once an executor newer than `generation` is up, or none will be.
  kj::Promise<Result<void>> replacement(std::uint32_t generation);
  /// Resolves with how the executor of `generation` ended.
  kj::Promise<std::string> fate(std::uint32_t generation);

  [[nodiscard]] Result<void> extend(Time expires);

  /// Resolves once it has ended: the process is gone and the cores are free.
  kj::Promise<void> gone();

  /// The node leaves: tells the client that it has `left`, lets calls under way end, then ends; at
  /// the latest after `left`.
  void drain(const std::string& reason, milliseconds left);

  /// Ends it. The client is told unless it is the one who wants it. Idempotent.
  void end(const std::string& reason, bool tell_client);

 private:
  Result<void> start_executor();
  void executor_ended(std::uint32_t generation, std::string fate);
  kj::Promise<void> bring_up(std::uint32_t generation);
  kj::Promise<void> listen_again(kj::Own<Executor> executor, std::uint32_t generation,
                                 std::size_t at);
  kj::Promise<void> open_again(kj::Own<Executor> executor, std::size_t at);
  void arm_expiry();
  kj::Promise<void> tell_ending(milliseconds left, const std::string& reason, bool leaving);
  void wake_waiters();
  void finish();
  void taskFailed(kj::Exception&& exception) override;

  NodeServices& services_;
  GrantTerms terms_;
  CoreInventory::Reservation reservation_;
  std::vector<std::string> cpusets_;
  OnEnded on_ended_;
  State state_ = State::kGranted;
  Time held_since_;
  std::string end_reason_;
  kj::Maybe<wire::LeaseNotices::Client> notices_;

  std::uint32_t generation_ = 0;     ///< Of the newest executor ordered.
  std::uint32_t up_generation_ = 0;  ///< Of the newest executor with all functions open.
  std::string data_socket_;
  std::vector<std::string> transports_;  ///< Beside shm, as the client asked for them.
  std::string client_host_;
  /// Where the executor of `generation` is reached by them.
  struct Network {
    std::uint32_t generation = 0;
    std::vector<std::pair<std::string, std::string>> addresses;  ///< Transport and address.
    std::vector<std::string> refusals;
  };
  Network network_;
  kj::Maybe<kj::Own<Executor>> executor_;
  std::map<std::uint32_t, std::string> fates_;
  UsageRecord past_usage_;  ///< Of executors that have ended.
  std::vector<FunctionRequest> functions_;
  unsigned early_deaths_ = 0;  ///< Executors in a row that ended before they were up.

  struct Waiter {
    std::uint32_t generation;
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  };
  std::vector<Waiter> waiting_for_up_;
  std::vector<Waiter> waiting_for_fate_;
  std::vector<Waiter> waiting_for_end_;
  std::string drain_reason_;         ///< Empty unless it drains.
  std::uint64_t expiry_arming_ = 0;  ///< Only the newest timer counts.
  Time told_expiry_{};               ///< The end that the client has been told of.
  kj::TaskSet tasks_;
};

}  // namespace sublet::manager
