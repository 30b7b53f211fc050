#pragma once

// clang-format off
// STATES  grant:  reserved  the node is being told         confirmed -> granted, refused -> gone
//                 granted   a client may claim it          claimed -> claimed; handle dropped, or
//                                                          unclaimed too long -> lapsing
//                 claimed   a client holds it              overdue after its expiry -> ending; ended
//                                                          with notice -> noticed
//                 noticed   its client knows when it ends  overdue then -> ending
//                 lapsing   revoked unless claimed         claimed or held -> claimed
//                 ending    revoked                        -
//                 any of them: `ended` by the node, or its node lost -> gone
//         lease:  reserved  its nodes are being told of it
//                 granted   no grant has been claimed yet
//                 active    one grant at least is claimed
//                 ending    every grant left is noticed, lapsing or ending
//                 ended     every grant is gone; kept a while for people to look at
//         (docs/reference/leases.md has the same for users, with the reasons of ends.)
// LIMITS  GrantTable::Limits, and wire/limits.hpp.
// clang-format on

#include <common/grant_terms.hpp>
#include <sublet/result.hpp>
#include <sublet/session.hpp>
#include <wire/limits.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

/// To be sent to the grant's node.
struct Revocation {
  GrantKey key;
  bool unclaimed_only = false;
  std::string reason;
  std::optional<milliseconds> left{};  ///< With notice: it ends then.
};

enum class GrantState : std::uint8_t { kReserved, kGranted, kClaimed, kNoticed, kLapsing, kEnding };

/// A grant that is not gone.
struct GrantRecord {
  GrantTerms terms;
  GrantState state = GrantState::kReserved;
  bool held = false;   ///< Its node has said that it holds it.
  Time since{};        ///< When it was granted.
  Time revoke_sent{};  ///< kLapsing, kEnding.
  Time accounted{};    ///< Its end, as its owner's account knows it.
  std::string reason;  ///< Of the revocation.
  Usage usage{};       ///< As last reported.
};

/// The leases, and their grants wherever they are. No clock, no random source, no I/O.
///
/// Owner: the lease book; on its thread.
class GrantTable {
 public:
  struct Limits {
    milliseconds claim_timeout = wire::kClaimTimeout;
    /// The node acts on both times by itself; only when it does not, the table does.
    milliseconds grace{5000};
    /// A revocation without effect is sent again.
    milliseconds revoke_again{3000};
    std::size_t live = 1u << 20;
    std::size_t ended_leases = 1000;  ///< Kept for people to look at.
  };
  using Random = std::function<void(std::span<std::byte>)>;

  GrantTable(const Limits& limits, LeaseId first_lease, Random random);

  /// Numbers count up; one that a node holds from earlier is left out.
  [[nodiscard]] LeaseId new_lease();
  /// There is, or was of late, a lease of that number.
  [[nodiscard]] bool is_known(LeaseId lease) const { return leases_.contains(lease); }
  [[nodiscard]] Token new_token();
  [[nodiscard]] Result<void> room_for(std::size_t grants) const;

  /// `node_name` is for people.
  GrantRecord& insert(const GrantTerms& terms, const std::string& node_name, GrantState state,
                      Time now);
  /// With `may_return`, only its node's silence has ended it: the node may come back with it.
  GrantRecord remove(const GrantKey& key, bool may_return, const std::string& reason);
  [[nodiscard]] GrantRecord* find(const GrantKey& key);
  [[nodiscard]] const GrantRecord* find(const GrantKey& key) const;

  static Revocation revoke(GrantRecord& grant, GrantState next, const std::string& reason,
                           Time now);
  /// Takes back a lease that no client has been told of: it leaves no trace in leases().
  std::vector<Revocation> withdraw(LeaseId lease, Time now);
  /// The client's handle is gone: ends the grants that nobody has claimed.
  std::vector<Revocation> handle_dropped(LeaseId lease, Time now);

  /// Ends all grants of a lease; with `notice`, those that are claimed after the notice period of
  /// each. kInvalid: there is none of that number, or it has ended.
  Result<std::vector<Revocation>> release(LeaseId lease, const std::string& reason, Time now,
                                          bool notice = false);
  /// To be told to its node, which may not have heard of it.
  static Revocation notice_again(const GrantRecord& grant, Time now);

  struct Extension {
    Time expires{};
    std::vector<GrantKey> grants;  ///< Whose nodes must be told.
  };
  /// More time, counted from now; never less than there was. kDenied without a token of the lease,
  /// and once it has been ended with notice.
  Result<Extension> extend(LeaseId lease, std::span<const std::byte> token, milliseconds duration,
                           Time now);

  /// A node holds it until then at least.
  void note_expiry(GrantRecord& grant, Time expires);

  /// Revokes what is overdue or has not been claimed, on nodes that `is_up`.
  std::vector<Revocation> review(Time now, const std::function<bool(NodeNumber)>& is_up);

  // ---- Looking ----

  /// Why a grant that a node holds and this table does not know cannot be taken over.
  [[nodiscard]] std::optional<std::string> why_not_adopt(const GrantTerms& terms, Time now) const;
  [[nodiscard]] std::optional<GrantState> state(const GrantKey& key) const;
  /// It was here, and has ended by its node's own word.
  [[nodiscard]] bool is_gone(const GrantTerms& terms) const;
  /// Of the user `of`, or of all without one; then others' are summed up in one entry, lease 0.
  [[nodiscard]] std::vector<LeaseInfo> leases(bool include_ended,
                                              std::optional<std::uint32_t> of = {}) const;
  /// Nothing when there is no such lease, or it has ended long ago.
  [[nodiscard]] std::optional<std::uint32_t> owner_uid(LeaseId lease) const;
  [[nodiscard]] std::size_t live() const { return live_; }
  struct Extent {
    std::uint32_t owner_uid = kUnknownUid;
    std::uint64_t cores = 0;
    Time expires{};
  };
  /// Of the grants that a lease still has. Nothing: it has none.
  [[nodiscard]] std::optional<Extent> extent(LeaseId lease) const;
  template <class See>
  void for_each(See&& see) const {
    for (const auto& [id, lease] : leases_) {
      for (const auto& [place, grant] : lease.grants) see(grant);
    }
  }

 private:
  using Place = std::pair<std::uint32_t, NodeNumber>;  ///< Part and node.
  struct Lease {
    std::map<Place, GrantRecord> grants;
    /// By their tokens: a node that was forgotten returns under another number. Gone only because
    /// their node was silent, with what they had used until then.
    std::map<Token, Usage> lost;
    std::set<Token> gone;  ///< Gone by their node's own word.
    std::set<std::string> node_names;
    std::string owner;
    std::uint32_t owner_uid = kUnknownUid;
    std::uint32_t cores = 0;  ///< Of all grants it ever had.
    std::uint32_t gpus = 0;   ///< The same.
    Time expires{};
    Usage past{};  ///< Of grants that are gone.
    bool withdrawn = false;
    std::uint32_t slurm_job = 0;
    std::int32_t priority = 0;
    milliseconds notice{0};
    std::string reason;  ///< How the last grant that is gone ended.
  };

  static Place place_of(const GrantKey& key) { return {key.part, key.node}; }
  void retire(LeaseId lease);
  std::optional<Revocation> review(GrantRecord& grant, Time now) const;
  static LeaseInfo view(LeaseId id, const Lease& lease);

  Limits limits_;
  std::uint64_t next_lease_;
  Random random_;
  std::map<LeaseId, Lease> leases_;
  std::map<Token, GrantKey> tokens_;
  std::deque<LeaseId> ended_;  ///< Oldest first; their records stay in leases_.
  std::size_t live_ = 0;
};

}  // namespace sublet::manager
