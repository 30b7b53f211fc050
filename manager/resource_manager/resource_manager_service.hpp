#pragma once

#include <common/auth/authorize.hpp>
#include <common/manager_clock.hpp>
#include <common/peer.hpp>
#include <common/sealing.hpp>
#include <resource_manager/drain_waits.hpp>
#include <resource_manager/lease_book.hpp>
#include <resource_manager/lease_desk.hpp>
#include <resource_manager/lease_records.hpp>
#include <wire/control.capnp.h>

#include <kj/async.h>
#include <kj/refcount.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
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

  /// `records` outlives this, or is taken away by forget_records(); null: nothing outlives it.
  ResourceManagerService(kj::Timer& timer, Operators operators,
                         Clock clock = std::bind_front(&ManagerClock::now, ManagerClock()),
                         LeaseRecords* records = nullptr, const LeaseDesk::Limits& limits = {});
  ~ResourceManagerService() noexcept(false);
  KJ_DISALLOW_COPY(ResourceManagerService);

  // ---- for clients ----

  /// Tells all nodes in parallel, and has the grants on disk, before it answers; on a refusal or a
  /// time-out of some, takes the lease back from the others and tries without them. A request with
  /// a wait waits when nothing is free, unless the promise is dropped.
  /// `request` names a holder for each part: the grants are signed for them.
  kj::Promise<Result<std::vector<SealedTerms>>> lease(LeaseRequest request, Requester requester);
  kj::Promise<Result<Time>> extend(LeaseId lease, Token token, milliseconds duration);
  void handle_dropped(LeaseId lease);

  // ---- for operators: resource_manager_orders.cpp ----

  struct DrainOrder {
    std::string node;  ///< Its name.
    milliseconds limit{0};
    std::string reason;
    bool wait = false;
    bool own_notice = false;  ///< Each lease has its own notice period, if that is less.
  };
  using DrainReports = std::vector<wire::DrainReport>;
  /// Tells the executor managers of that name to end their leases within `limit`, and to leave.
  /// With `wait` it answers when it is known what became of each.
  kj::Promise<Result<DrainReports>> drain(DrainOrder order, const Caller& caller);
  /// Takes that back.
  kj::Promise<Result<void>> cancel_drain(const std::string& node, const Caller& caller);
  /// Ends a lease, and answers once its cores are free; with `notice` once its nodes have been
  /// told, with the time that it has. What waits under that number waits no more.
  kj::Promise<Result<milliseconds>> release(LeaseId lease, const std::string& reason,
                                            const Caller& caller, bool notice = false);
  /// Answers once it is on disk.
  kj::Promise<Result<void>> set_quota(const wire::QuotaOrder& order, const Caller& caller);
  struct Forgotten {
    std::uint32_t nodes = 0;
    std::uint32_t leases = 0;
    std::uint32_t up = 0;  ///< Nodes of that name that stay.
  };
  /// Removes the lost nodes of that name. kInvalid: there is none.
  Result<Forgotten> forget(const std::string& node, const Caller& caller);

  // ---- the ledger; kUnsupported without one ----

  kj::Promise<Result<wire::LedgerPage>> read_ledger(wire::LedgerFilter filter);
  kj::Promise<Result<wire::LedgerCheck>> verify_ledger();
  /// The records end before this does.
  void forget_records();

  // ---- grants that prove themselves ----

  /// In place of a key that was made for this run.
  void sign_with(wire::SigningKey key) { key_ = std::move(key); }
  [[nodiscard]] const wire::PublicKey& grant_key() const { return key_.public_key(); }
  /// Of users without a quota of their own, and how soon who waits rises.
  void set_limits(const LeaseDesk::Limits& limits) { desk_.set_limits(limits); }
  /// How far a node's clock may be from this one's.
  void set_clock_tolerance(milliseconds tolerance) { clock_tolerance_ = tolerance; }
  [[nodiscard]] milliseconds clock_tolerance() const { return clock_tolerance_; }

  // ---- for looking at ----

  [[nodiscard]] const LeaseBook& book() const { return book_; }
  [[nodiscard]] const LeaseDesk& desk() const { return desk_; }
  /// Whose lease or waiting request that is. Nothing: it is not known.
  [[nodiscard]] std::optional<std::uint32_t> owner_uid(LeaseId lease) const;
  [[nodiscard]] const Operators& operators() const { return operators_; }
  /// `observer` outlives this; null: nobody is told.
  void set_observer(LeaseObserver* observer) { book_.set_observer(observer); }
  [[nodiscard]] Time now() const { return clock_(); }
  /// kOverloaded: nothing may be leased now, because what happens cannot be written down.
  [[nodiscard]] Result<void> ready() const {
    return records_ == nullptr ? Result<void>() : records_->ready();
  }
  /// Events that are not on disk yet; nothing without a ledger.
  [[nodiscard]] std::optional<std::uint64_t> unwritten() const {
    if (records_ == nullptr) return std::nullopt;
    return records_->told() - records_->kept();
  }
  /// Random, of this run: who has it from an address file knows that this wrote the file.
  [[nodiscard]] const std::string& instance() const { return instance_; }

  // ---- for executor managers ----

  /// `peer` is null for an executor manager in this process. `ended`: see wire::ResourceManager.
  Result<RegistrationId> register_node(const NodeOffer& offer, std::vector<GrantTerms> held,
                                       std::vector<EndedGrant> ended,
                                       wire::NodeControl::Client control,
                                       std::shared_ptr<Peer> peer);
  /// False when the registration is void: the node must register again.
  [[nodiscard]] bool heartbeat(const RegistrationId& registration, const DirectUse& direct = {});
  void claimed(const RegistrationId& registration, LeaseId lease, std::uint32_t part);
  /// Of `grant` the node's older versions tell the key alone.
  void ended(const RegistrationId& registration, EndedGrant grant, bool has_terms);
  /// How many of the registration's ends are kept, from its first one on.
  [[nodiscard]] std::uint64_t ends_kept(const RegistrationId& registration);
  void usage(const RegistrationId& registration, LeaseId lease, std::uint32_t part,
             const Usage& usage);
  void call_times(const RegistrationId& registration, const wire::CallTimes& more);
  void draining(const RegistrationId& registration);
  void warm(const RegistrationId& registration, std::uint32_t executors);
  /// The node says goodbye, and what became of its leases when it has drained. Resolves once that
  /// is kept, or cannot be: then it is when there is room again.
  kj::Promise<void> left(const RegistrationId& registration,
                         std::optional<wire::DrainCounts> counts);
  /// The node may come back.
  void registration_dropped(const RegistrationId& registration);

 private:
  struct Link {
    std::uint64_t serial = 0;
    wire::NodeControl::Client control;
    std::shared_ptr<Peer> peer;
    std::uint64_t ends_kept = 0;
    /// Of the ends after those: how many events had been told with each.
    std::deque<std::uint64_t> ends_told{};
  };
  struct Attempt;
  using Granted = Result<std::vector<SealedTerms>>;
  /// One that waits; fulfilled when its grants have been reserved, or with why they will not be.
  struct Waiter {
    std::shared_ptr<Attempt> attempt;
    kj::Own<kj::PromiseFulfiller<Result<void>>> turn;
  };
  enum class Answer : std::uint8_t { kConfirmed, kRefused, kUnknown };

  kj::Promise<Granted> attempt(const std::shared_ptr<Attempt>& attempt);
  kj::Promise<Granted> announce_all(const std::shared_ptr<Attempt>& attempt);
  [[nodiscard]] bool may_wait(const Attempt& attempt) const;
  kj::Promise<Granted> refuse(Attempt& attempt, const Error& error);
  kj::Promise<Granted> wait(const std::shared_ptr<Attempt>& attempt, const Error& why);
  bool give_up_waiting(LeaseId number, const Error& error);
  void serve_soon();
  void serve();
  kj::Promise<Granted> keep(const std::shared_ptr<Attempt>& attempt);
  void note_end(NodeNumber node);
  kj::Promise<void> announce_next(const std::shared_ptr<Attempt>& attempt);
  kj::Promise<void> announce(const std::shared_ptr<Attempt>& attempt, std::size_t at);
  void seal(Attempt& attempt, SealedTerms& grant) const;
  [[nodiscard]] Result<void> check_clock(const NodeOffer& offer) const;
  void note(Attempt& attempt, const GrantKey& key, Answer answer, const std::string& text);
  kj::Promise<void> tick_loop();
  void tick();
  void send(const std::vector<Revocation>& revocations);
  void send(const Revocation& revocation);
  /// Sends it. What went wrong; empty: the grant is gone, or stays as it may.
  kj::Promise<std::string> revoke(const Revocation& revocation);
  kj::Promise<std::string> notify(const Revocation& revocation, Link& link);
  [[nodiscard]] Result<std::vector<NodeNumber>> connected(const std::string& name) const;
  kj::Promise<std::optional<Error>> tell_drain(NodeNumber node, const DrainOrder& order);
  kj::Promise<std::optional<Error>> tell_cancel(NodeNumber node);
  [[nodiscard]] milliseconds drain_limit(NodeNumber node, const DrainOrder& order) const;
  kj::Promise<Result<DrainReports>> await_drains(const std::vector<NodeNumber>& nodes,
                                                 const DrainOrder& order, DrainWaits::Place place);
  void settle(NodeNumber node, wire::DrainEnd end, std::size_t leases_lost = 0,
              std::optional<wire::DrainCounts> counts = {});
  [[nodiscard]] bool is_current(const RegistrationId& registration) const;
  [[nodiscard]] std::string name_of(NodeNumber node) const;
  void taskFailed(kj::Exception&& exception) override;

  kj::Timer& timer_;
  Operators operators_;
  Clock clock_;
  Time last_tick_{};
  LeaseRecords* records_;
  LeaseBook book_;
  LeaseDesk desk_;
  std::map<LeaseId, Waiter> waiters_;
  std::vector<LeaseId> abandoned_;  ///< Of those: nobody waits for them any more.
  bool serves_soon_ = false;
  wire::SigningKey key_ = wire::SigningKey::make();
  milliseconds clock_tolerance_ = wire::kClockTolerance;
  std::map<NodeNumber, Link> links_;
  DrainWaits drain_waits_;
  std::uint64_t next_serial_ = 1;
  std::string instance_;
  kj::TaskSet tasks_;
};

}  // namespace sublet::manager
