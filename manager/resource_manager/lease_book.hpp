#pragma once

// PROTOCOL  The resource manager's memory of nodes and leases. The server tells it what happened
// and
//           does what it answers: `reserve` names the grants to announce, other calls return the
//           revocations to send. It has no clock, no random source and no I/O of its own.
//           Cores of a grant are free again only when its node has said so (ended, refused, or a
//           registration without it) or is lost: nobody is given a core that may still be in use.
// STATES    grant:  reserved  the node is being told         confirmed -> granted, refused -> gone
//                   granted   a client may claim it          claimed -> claimed; handle dropped, or
//                                                            unclaimed too long -> lapsing
//                   claimed   a client holds it              overdue after its expiry -> ending
//                   lapsing   revoked unless claimed         claimed or held -> claimed
//                   ending    revoked                        -
//                   any of them: `ended` by the node, or its node lost -> gone
//           lease:  granted   no grant has been claimed yet
//                   active    one grant at least is claimed
//                   ending    every grant left is ending
//                   ended     every grant is gone; kept a while for people to look at
//           node:   up -> lost (connection gone, or silent too long) -> up when it registers again.
//                   Its grants are kept until it has been silent for `lost_after`; a node that
//                   comes back later with grants that only its silence had ended gets them back. A
//                   draining node keeps its grants and gets no new ones.
// LIMITS    LeaseBook::Limits, and wire/limits.hpp.

#include <common/grant_terms.hpp>
#include <common/types.hpp>
#include <resource_manager/placement.hpp>
#include <sublet/lease.hpp>
#include <sublet/result.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace sublet::manager {

/// What a client asks for; checked against wire/limits.hpp where it was read.
struct LeaseAsk {
  std::uint32_t cores = 1;  ///< Per part.
  std::uint32_t parts = 1;
  std::uint64_t memory_bytes = 0;  ///< Per part.
  milliseconds duration{0};
  Placement placement = Placement::kPack;
  std::int64_t hot_timeout_ms = -1;
  std::uint32_t slots = 16;
  std::uint64_t arena_bytes = 0;
  std::string client_node_id;
  std::string owner;
  std::uint32_t owner_uid = ~std::uint32_t{0};
};

/// To be sent to the grant's node.
struct Revocation {
  GrantKey key;
  bool unclaimed_only = false;
  std::string reason;
};

enum class GrantState : std::uint8_t { kReserved, kGranted, kClaimed, kLapsing, kEnding };
enum class LeaseState : std::uint8_t { kGranted, kActive, kEnding, kEnded };

[[nodiscard]] const char* to_string(LeaseState state) noexcept;

struct NodeView {
  NodeNumber number{};
  NodeOffer offer;
  std::uint32_t free_cores = 0;
  std::uint64_t free_memory_bytes = 0;
  std::string state;  ///< up, draining or lost.
  milliseconds heartbeat_age{0};
};

struct LeaseView {
  LeaseId id{};
  LeaseState state = LeaseState::kGranted;
  std::string owner;
  std::uint32_t cores = 0;
  std::vector<std::string> nodes;
  Time expires{};
  UsageRecord usage;
};

/// Owner: the server, which calls it from its event loop's thread only.
class LeaseBook {
 public:
  struct Limits {
    milliseconds claim_timeout = wire::kClaimTimeout;
    /// The node acts on both times by itself; only when it does not, the book does.
    milliseconds grace{5000};
    milliseconds lost_after = wire::kNodeLostAfter;
    milliseconds forget_node_after{3'600'000};
    /// A revocation without effect is sent again.
    milliseconds revoke_again{3000};
    std::size_t nodes = 65536;
    std::size_t live_grants = 1u << 20;
    std::size_t ended_leases = 1000;  ///< Kept for people to look at.
  };
  using Random = std::function<void(std::span<std::byte>)>;

  /// Lease numbers count up from `first_lease`; a restarted manager starts with a higher one.
  LeaseBook(Limits limits, LeaseId first_lease, Random random);

  struct Registration {
    NodeNumber node{};
    std::vector<Revocation> revocations;
    std::vector<std::string> notes;  ///< What did not match, for the log.
  };
  /// A node joins or returns. The same id is the same node; kInvalid when the offer breaks a limit.
  Result<Registration> register_node(const NodeOffer& offer, std::vector<GrantTerms> held,
                                     Time now);
  /// False: the node has been silent for too long and must register again.
  [[nodiscard]] bool heartbeat(NodeNumber node, Time now);
  /// The connection broke; the node may return with its grants.
  void node_disconnected(NodeNumber node, Time now);
  /// The node said goodbye: its grants are gone.
  void node_left(NodeNumber node);
  /// The nodes of that name; kInvalid, with the names there are, when there is none.
  Result<std::vector<NodeNumber>> nodes_named(const std::string& name) const;
  /// A draining node gets no new grants. It is over when the node leaves or registers again.
  void set_draining(NodeNumber node, bool draining);

  /// Reserves all parts or nothing, on nodes that are up and not in `excluded`. kOverloaded says
  /// what was asked and what is free.
  Result<std::vector<GrantTerms>> reserve(const LeaseAsk& ask, Time now,
                                          const std::set<NodeNumber>& excluded = {});
  void confirmed(const GrantKey& key, Time now);
  /// The node holds nothing of it.
  void refused(const GrantKey& key);
  void claimed(const GrantKey& key);
  void ended(const GrantKey& key, const UsageRecord& usage);
  void usage(const GrantKey& key, const UsageRecord& usage);
  /// Takes back a lease that no client has been told of: it leaves no trace in leases().
  std::vector<Revocation> withdraw(LeaseId lease, Time now);
  /// The client's handle is gone: ends the grants that nobody has claimed.
  std::vector<Revocation> handle_dropped(LeaseId lease, Time now);

  struct Extension {
    Time expires{};
    std::vector<GrantKey> grants;  ///< Whose nodes must be told.
  };
  /// More time, counted from now; never less than there was. kDenied without a token of the lease.
  Result<Extension> extend(LeaseId lease, std::span<const std::byte> token, milliseconds duration,
                           Time now);

  struct Due {
    std::vector<Revocation> revocations;
    std::vector<std::string> notes;  ///< For the log.
  };
  /// What is due: silent nodes, overdue and unclaimed grants. Call it a few times a second.
  Due tick(Time now);

  /// By name.
  [[nodiscard]] std::vector<NodeView> nodes(Time now) const;
  [[nodiscard]] std::vector<LeaseView> leases(bool include_ended) const;
  [[nodiscard]] std::optional<NodeNumber> find_node(const std::string& node_id) const;
  [[nodiscard]] const NodeOffer* offer(NodeNumber node) const;
  [[nodiscard]] bool is_up(NodeNumber node) const;
  [[nodiscard]] std::optional<GrantState> state(const GrantKey& key) const;
  [[nodiscard]] std::vector<GrantTerms> grants_of(NodeNumber node) const;
  [[nodiscard]] std::size_t live_grants() const { return live_grants_; }

 private:
  struct GrantRecord {
    GrantTerms terms;
    GrantState state = GrantState::kReserved;
    Time since{};         ///< When it was granted.
    Time revoke_sent{};   ///< kLapsing, kEnding.
    std::string reason;   ///< Of the revocation.
    UsageRecord usage{};  ///< As last reported.
  };
  using GrantPlace = std::pair<std::uint32_t, NodeNumber>;  ///< Part and node.
  struct LeaseRecord {
    std::map<GrantPlace, GrantRecord> grants;  ///< Those that are not gone.
    /// Gone only because their node was silent, with what they had used until then.
    std::map<GrantPlace, UsageRecord> lost;
    std::set<GrantPlace> gone;  ///< Gone by their node's own word.
    std::set<std::string> node_names;
    std::string owner;
    std::uint32_t cores = 0;  ///< Of all grants it ever had.
    Time expires{};
    UsageRecord past{};  ///< Of grants that are gone.
    bool withdrawn = false;
  };
  struct NodeRecord {
    NodeOffer offer;
    std::uint32_t used_cores = 0;
    std::uint64_t used_memory = 0;
    std::set<GrantKey> grants;
    Time heard{};
    bool connected = false;
    bool draining = false;
    bool written_off = false;  ///< Silent for lost_after: its grants are gone.

    /// What an executor manager offers can shrink below what it still holds.
    [[nodiscard]] std::uint32_t free_cores() const {
      return offer.cores - std::min(offer.cores, used_cores);
    }
    [[nodiscard]] std::uint64_t free_memory() const {
      return offer.memory_bytes - std::min(offer.memory_bytes, used_memory);
    }
    [[nodiscard]] bool available() const { return connected && !draining; }
  };

  GrantRecord* find(const GrantKey& key);
  [[nodiscard]] const GrantRecord* find(const GrantKey& key) const;
  Result<void> check_offer(const NodeOffer& offer) const;
  NodeNumber number_of(const NodeOffer& offer);
  void reconcile(NodeNumber number, const std::map<GrantKey, GrantTerms>& held,
                 Registration& registration, Time now);
  void adopt(NodeNumber number, const std::map<GrantKey, GrantTerms>& held,
             Registration& registration, Time now);
  [[nodiscard]] std::optional<std::string> why_not_adopt(const NodeRecord& node,
                                                         const GrantTerms& terms, Time now) const;
  void insert(const GrantTerms& terms, GrantState state, Time now);
  void remove(const GrantKey& key, bool node_lost);
  void retire(LeaseId lease);
  static Revocation revoke(GrantRecord& grant, GrantState next, const std::string& reason,
                           Time now);
  void write_off(NodeNumber number);
  void review_nodes(Time now, Due& due);
  void review_grant(GrantRecord& grant, Time now, Due& due) const;
  [[nodiscard]] Error refusal(const LeaseAsk& ask) const;

  Limits limits_;
  std::uint64_t next_lease_;
  std::uint32_t next_node_ = 1;
  Random random_;
  std::map<NodeNumber, NodeRecord> nodes_;
  std::map<std::string, NodeNumber> node_ids_;
  std::map<LeaseId, LeaseRecord> leases_;
  std::map<Token, GrantKey> tokens_;
  std::deque<LeaseId> ended_;  ///< Oldest first; their records stay in leases_.
  std::size_t live_grants_ = 0;
};

}  // namespace sublet::manager
