#pragma once

#include <common/grant_terms.hpp>
#include <common/rpc_connection.hpp>
#include <wire/control.capnp.h>
#include <wire/manager_address.hpp>
#include <wire/manager_calls.hpp>

#include <deque>
#include <functional>
#include <string>
#include <vector>

namespace sublet::manager {

class ExecutorManager;
class HeldGrant;

/// The executor manager's connection to the resource manager: registers the node with the grants it
/// holds, sends heartbeats, tells what happens to grants. When the resource manager goes away the
/// node goes on and registers again as soon as it is back.
///
/// STATES  connecting -> registered -> (connection lost) -> connecting, with a back-off from
///         wire::kReconnectMin to wire::kReconnectMax.
/// Owner: the executor manager; on its loop.
class ResourceManagerLink final : private kj::TaskSet::ErrorHandler {
 public:
  /// Where the resource manager is now; asked before each connection.
  using Locate = std::function<kj::Promise<Result<wire::ManagerLocation>>()>;

  /// `refused_limit`: see refused().
  ResourceManagerLink(ExecutorManager& node, kj::Network& network, kj::Timer& timer, Locate locate,
                      milliseconds refused_limit);
  KJ_DISALLOW_COPY(ResourceManagerLink);

  /// Resolves when the node has been registered for the first time.
  kj::Promise<void> registered() { return first_time_.addBranch(); }

  /// Resolves when the resource manager has refused this node for longer than its limit, and no
  /// lease is on it: with what it said. Another executor manager serves the node, for instance.
  kj::Promise<std::string> refused() { return kj::mv(refused_); }

  /// The node takes no new grants; said again after each registration.
  void draining();

  /// So many processes are ready to become executors. Told when it has not changed for a moment,
  /// and again after each registration.
  void warm(std::uint32_t executors);

  // Told when it can be; a resource manager that is away learns it from the next registration. Ends
  // are told on each until it has said that they are kept.
  void claimed(const HeldGrant& grant);
  void ended(const HeldGrant& grant, const std::string& reason);

  /// Says goodbye: the node is leaving. Resolves once the resource manager knows, or does not
  /// answer in time. One that is away is waited for, for a moment, when it has not heard yet how
  /// leases have ended.
  kj::Promise<void> leave();

 private:
  kj::Promise<void> run(kj::Duration back_off);
  kj::Promise<void> connect();
  kj::Promise<void> connect(const Result<wire::ManagerLocation>& location);
  kj::Promise<void> serve(kj::Own<RpcConnection> connection, const std::string& address);
  kj::Promise<void> enlist(kj::Own<RpcConnection> connection, const std::string& address,
                           const wire::ManagersClock& clock);
  kj::Promise<void> heartbeat(kj::Duration period);
  kj::Promise<void> say_goodbye();
  [[nodiscard]] NodeOffer offer_to(const RpcConnection& connection) const;
  void note_refusal(const std::string& why);
  /// So many of what was told to this registration is kept.
  void note_kept(std::uint64_t ends);
  struct Ended {
    EndedGrant grant;
    Time held_since{};
    Time at{};
  };
  /// A grant as the resource manager is told of it: by its clock.
  [[nodiscard]] GrantTerms told(GrantTerms terms, Time held_since) const;
  /// The grants that are not over, without those of this node's own.
  [[nodiscard]] std::vector<HeldGrant*> held() const;
  void tell(const Ended& ended);
  void tell_warm();
  void tell_call_times();
  void taskFailed(kj::Exception&& exception) override;

  ExecutorManager& node_;
  kj::Network& network_;
  kj::Timer& timer_;
  Locate locate_;
  bool was_registered_ = false;
  std::uint32_t warm_ = 0;
  bool telling_warm_ = false;  ///< Soon.
  wire::CallTimes told_times_;
  bool said_ = false;  ///< That the resource manager is away, since it last was not.
  kj::Maybe<wire::NodeRegistration::Client> registration_;           ///< While registered.
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> registered_again_;  ///< Who says goodbye waits.
  std::deque<Ended> unkept_;      ///< Oldest first; at most wire::kMaxUnheardEnds.
  std::uint64_t ends_heard_ = 0;  ///< To be kept, of those told to this registration.
  std::size_t ends_dropped_ = 0;  ///< Of the oldest of those told, and not heard to be kept.
  kj::Own<kj::PromiseFulfiller<void>> first_time_fulfiller_;
  kj::ForkedPromise<void> first_time_;
  const milliseconds refused_limit_;
  kj::Maybe<kj::TimePoint> refused_since_;
  kj::Own<kj::PromiseFulfiller<std::string>> refused_fulfiller_;
  kj::Promise<std::string> refused_;
  kj::TaskSet tasks_;
  kj::Maybe<kj::Promise<void>> running_;
};

}  // namespace sublet::manager
