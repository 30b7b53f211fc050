#pragma once

// clang-format off
// PROTOCOL  The resource manager's memory of nodes and leases. The server tells it what happened
//           and does what it answers: `reserve` names the grants to announce, other calls return
//           the revocations to send. It has no clock, no random source and no I/O of its own.
//           Cores of a grant are free again only when its node has said so (ended, refused, or a
//           registration without it) or is lost: nobody is given a core that may still be in use.
// STATES    Of grants and leases: grant_table.hpp; of nodes: node_table.hpp. A node that comes back
//           with grants that only its silence had ended gets them back.
// LIMITS    LeaseBook::Limits, and wire/limits.hpp.
// clang-format on

#include <common/grant_terms.hpp>
#include <resource_manager/grant_table.hpp>
#include <resource_manager/lease_observer.hpp>
#include <resource_manager/node_table.hpp>
#include <resource_manager/user_accounts.hpp>
#include <sublet/lease.hpp>
#include <sublet/result.hpp>
#include <wire/call_times.hpp>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

/// A grant that had not ended when the manager did, as it was last known.
struct OpenGrant {
  GrantTerms terms;  ///< Without the key's node.
  NodeOffer node;
  Usage usage;
};

/// Keeps nodes and grants true to one another, and tells an observer what happens to grants.
///
/// Owner: the server, which calls it from its event loop's thread only.
class LeaseBook {
 public:
  struct Limits {
    NodeTable::Limits nodes{};
    GrantTable::Limits grants{};
  };
  using Random = GrantTable::Random;
  using Extension = GrantTable::Extension;

  /// Lease numbers count up from `first_lease`; a restarted manager starts with a higher one.
  LeaseBook(const Limits& limits, LeaseId first_lease, Random random);

  /// `observer` outlives the book; null: nobody is told.
  void set_observer(LeaseObserver* observer) { observer_ = observer; }

  /// What a manager before this one knew, before any node registers: its nodes are lost until they
  /// come back, its grants end when they do not. What does not fit is left out, with a note.
  std::vector<std::string> restore(const std::vector<OpenGrant>& grants, Time now);

  struct Registration {
    NodeNumber node{};
    std::vector<Revocation> revocations;
    std::vector<std::string> notes;  ///< What did not match, for the log.
  };
  /// A node joins or returns. The same id is the same node; kInvalid when the offer breaks a limit.
  /// `ended` have ended there since it was registered last.
  Result<Registration> register_node(const NodeOffer& offer, std::vector<GrantTerms> held, Time now,
                                     std::vector<EndedGrant> ended = {});
  /// False: the node has been silent for too long and must register again.
  [[nodiscard]] bool heartbeat(NodeNumber node, Time now, const DirectUse& direct = {}) {
    return nodes_.heartbeat(node, now, direct);
  }
  /// The connection broke; the node may return with its grants.
  void node_disconnected(NodeNumber node, Time now) { nodes_.disconnect(node, now); }
  /// The node said goodbye: its grants are gone.
  void node_left(NodeNumber node);
  /// Removes a lost node; its grants end as those of a silent node, and may return with it. How
  /// many leases they were of. Nothing when the node is not known or is up.
  std::optional<std::size_t> forget_lost(NodeNumber node);
  /// A draining node gets no new grants. It is over when the node leaves or registers again.
  void set_draining(NodeNumber node, bool draining) { nodes_.set_draining(node, draining); }
  void set_warm(NodeNumber node, std::uint32_t executors) { nodes_.set_warm(node, executors); }

  /// The nodes that are looked at for a request.
  enum class Look : std::uint8_t {
    kAll,
    kLikely,  ///< Few, found at once; a refusal says nothing of the others, nor what is free.
  };
  /// Reserves all parts or nothing, on nodes that are up and not in `excluded`. `request` has been
  /// checked against wire/limits.hpp. kOverloaded says what was asked and what is free. `number`:
  /// of the lease, in place of a new one.
  Result<std::vector<GrantTerms>> reserve(const LeaseRequest& request, const Requester& requester,
                                          Time now, const std::set<NodeNumber>& excluded = {},
                                          Look look = Look::kAll,
                                          std::optional<LeaseId> number = {});
  /// A number that no lease has.
  [[nodiscard]] LeaseId new_number() { return grants_.new_lease(); }
  /// The node holds it now.
  void confirmed(const GrantKey& key, Time now);
  /// The node holds nothing of it.
  void refused(const GrantKey& key);
  void claimed(const GrantKey& key);
  void ended(const GrantKey& key, const Usage& usage, const std::string& reason,
             milliseconds ago = {});
  /// As that, where the node tells all there is to know: the book need not have heard of it.
  void ended(NodeNumber node, EndedGrant grant);
  void usage(const GrantKey& key, const Usage& usage);
  /// More calls have run somewhere, and for so long.
  void call_times(const wire::CallTimes& more) { totals_.call_times += more; }
  /// Takes back a lease that no client has been told of: it leaves no trace in the views.
  std::vector<Revocation> withdraw(LeaseId lease, Time now) { return grants_.withdraw(lease, now); }
  /// The client's handle is gone: ends the grants that nobody has claimed.
  std::vector<Revocation> handle_dropped(LeaseId lease, Time now) {
    return grants_.handle_dropped(lease, now);
  }
  /// More time, counted from now; never less than there was. kDenied without a token of the lease.
  Result<Extension> extend(LeaseId lease, std::span<const std::byte> token, milliseconds duration,
                           Time now);

  /// Somebody who may ends a lease.
  /// With `notice` after the notice period, and until then it cannot be extended.
  Result<std::vector<Revocation>> release(LeaseId lease, const std::string& reason, Time now,
                                          bool notice = false);

  struct Lost {
    NodeNumber node{};
    std::size_t leases = 0;  ///< That had a grant there.
  };
  struct Due {
    std::vector<Revocation> revocations;
    std::vector<Lost> lost;          ///< Nodes, just now.
    std::vector<std::string> notes;  ///< For the log.
  };
  /// What is due: silent nodes, overdue and unclaimed grants. Call it a few times a second.
  Due tick(Time now);
  /// This process was stopped for `time`: what nodes said meanwhile has not been heard.
  void excuse_silence(milliseconds time);

  // For looking at.
  [[nodiscard]] const NodeTable& nodes() const { return nodes_; }
  [[nodiscard]] const GrantTable& grants() const { return grants_; }
  [[nodiscard]] const UserAccounts& accounts() const { return accounts_; }
  /// What has happened since this book began.
  struct Totals {
    std::uint64_t granted = 0;  ///< Grants that their nodes have taken.
    std::uint64_t claimed = 0;
    std::array<std::uint64_t, kGrantEnds> ended{};  ///< By GrantEnd.
    Usage used{};                                   ///< As nodes have reported it.
    wire::CallTimes call_times{};                   ///< Likewise.
  };
  [[nodiscard]] const Totals& totals() const { return totals_; }
  /// What this user has held of late.
  [[nodiscard]] double share(std::uint32_t uid) const { return accounts_.share(uid, latest_); }
  /// What users had used today before this manager's time: core-milliseconds.
  void note_used(std::uint32_t uid, std::int64_t core_ms, Time now);
  /// Cores have come free, or nodes have come, since this was asked last.
  [[nodiscard]] bool take_freed() { return std::exchange(freed_, false); }

 private:
  NodeOffer with_own_gpus(const NodeOffer& offer, Registration& registration) const;
  void reconcile(NodeNumber number, const std::map<GrantKey, GrantTerms>& held,
                 Registration& registration, Time now);
  void adopt(NodeNumber number, const std::map<GrantKey, GrantTerms>& held,
             Registration& registration, Time now);
  [[nodiscard]] std::optional<std::string> why_not_adopt(const GrantTerms& terms, Time now) const;
  GrantRecord& insert(const GrantTerms& terms, GrantState state, Time now);
  void remove(const GrantKey& key, GrantEnding ending);
  /// How many leases the grants were of.
  std::size_t remove_all(NodeNumber node, GrantEnd how);
  void note_held(GrantRecord& grant);
  void note_claimed(GrantRecord& grant);
  void note_usage(GrantRecord& grant, const Usage& usage);
  bool account_expiry(GrantRecord& grant);
  void note_expiry(GrantRecord& grant);
  /// It is `now`: a new day may have begun.
  void note_time(Time now);
  [[nodiscard]] GrantOnNode on_node(const GrantTerms& terms) const;

  NodeTable nodes_;
  GrantTable grants_;
  UserAccounts accounts_;
  Totals totals_;
  bool freed_ = false;
  Time latest_{};  ///< That it was told: ends are told without one, and come between ticks.
  LeaseObserver* observer_ = nullptr;
};

}  // namespace sublet::manager
