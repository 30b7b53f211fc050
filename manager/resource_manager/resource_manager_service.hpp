#pragma once

#include <common/manager_clock.hpp>
#include <common/peer.hpp>
#include <resource_manager/lease_book.hpp>
#include <wire/control.capnp.h>

#include <kj/async.h>
#include <kj/refcount.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace sublet::manager {

/// What a registration is known by: a node that registers again makes its older one void.
struct RegistrationId {
  NodeNumber node{};
  std::uint64_t serial = 0;
};

/// The resource manager: the lease book, and the conversations with executor managers that keep it
/// true. What clients and nodes call is in resource_manager_server.
///
/// Owner: main, and the server objects made for its peers, by reference count. The event loop's
/// thread only.
class ResourceManagerService final : public kj::Refcounted, private kj::TaskSet::ErrorHandler {
 public:
  using Clock = std::function<Time()>;

  explicit ResourceManagerService(kj::Timer& timer,
                                  Clock clock = std::bind_front(&ManagerClock::now,
                                                                ManagerClock()));
  ~ResourceManagerService() noexcept(false);
  KJ_DISALLOW_COPY(ResourceManagerService);

  // ---- for clients ----

  /// Tells all nodes in parallel before it answers; on a refusal or a time-out of some, takes the
  /// lease back from the others and tries without them.
  kj::Promise<Result<std::vector<GrantTerms>>> lease(LeaseRequest request, Requester requester);
  kj::Promise<Result<Time>> extend(LeaseId lease, Token token, milliseconds duration);
  void handle_dropped(LeaseId lease);
  struct DrainOrder {
    std::string node;  ///< Its name.
    milliseconds limit{0};
    std::string reason;
  };
  /// Tells the executor managers of that name to end their leases within `limit`, and to leave.
  kj::Promise<Result<void>> drain(DrainOrder order, const Caller& caller);
  [[nodiscard]] const LeaseBook& book() const { return book_; }
  /// `observer` outlives this; null: nobody is told.
  void set_observer(LeaseObserver* observer) { book_.set_observer(observer); }
  [[nodiscard]] Time now() const { return clock_(); }
  /// Random, of this run: who has it from an address file knows that this wrote the file.
  [[nodiscard]] const std::string& instance() const { return instance_; }

  // ---- for executor managers ----

  /// `peer` is null for an executor manager in this process.
  Result<RegistrationId> register_node(const NodeOffer& offer, std::vector<GrantTerms> held,
                                       wire::NodeControl::Client control,
                                       std::shared_ptr<Peer> peer);
  /// False when the registration is void: the node must register again.
  [[nodiscard]] bool heartbeat(const RegistrationId& registration);
  void claimed(const RegistrationId& registration, LeaseId lease, std::uint32_t part);
  void ended(const RegistrationId& registration, LeaseId lease, std::uint32_t part,
             const std::string& reason, const Usage& usage);
  void usage(const RegistrationId& registration, LeaseId lease, std::uint32_t part,
             const Usage& usage);
  void draining(const RegistrationId& registration);
  /// The node says goodbye.
  void left(const RegistrationId& registration);
  /// The node may come back.
  void registration_dropped(const RegistrationId& registration);

 private:
  struct Link {
    std::uint64_t serial = 0;
    wire::NodeControl::Client control;
    std::shared_ptr<Peer> peer;
  };
  struct Attempt;
  enum class Answer : std::uint8_t { kConfirmed, kRefused, kUnknown };

  kj::Promise<Result<std::vector<GrantTerms>>> attempt(const std::shared_ptr<Attempt>& attempt);
  kj::Promise<void> announce_next(const std::shared_ptr<Attempt>& attempt);
  kj::Promise<void> announce(const std::shared_ptr<Attempt>& attempt, const GrantTerms& terms);
  void note(Attempt& attempt, const GrantKey& key, Answer answer, const std::string& text);
  kj::Promise<void> tick_loop();
  void tick();
  void send(const std::vector<Revocation>& revocations);
  void send(const Revocation& revocation);
  [[nodiscard]] bool is_current(const RegistrationId& registration) const;
  [[nodiscard]] std::string name_of(NodeNumber node) const;
  void taskFailed(kj::Exception&& exception) override;

  kj::Timer& timer_;
  Clock clock_;
  Time last_tick_{};
  LeaseBook book_;
  std::map<NodeNumber, Link> links_;
  std::uint64_t next_serial_ = 1;
  std::string instance_;
  kj::TaskSet tasks_;
};

}  // namespace sublet::manager
