#pragma once

#include <common/auth/caller.hpp>
#include <sublet/result.hpp>

#include <cstdint>
#include <optional>
#include <set>
#include <string>

namespace sublet::manager {

/// What a caller asks of a resource manager. (The right to a grant that exists is its token's, and
/// its owner's.)
enum class Right : std::uint8_t {
  kLease,          ///< Get cores.
  kViewNodes,      ///< See all nodes, and what is free on them.
  kRegister,       ///< Offer a node: be told of grants, and their tokens.
  kDrain,          ///< Give a node back, which ends the leases on it, or take that back.
  kReleaseOthers,  ///< End, or extend, the lease of another user.
  kForget,         ///< Remove a lost node, which ends the leases on it.
  kViewOthers,     ///< See the leases of other users one by one, not only their sums.
  kViewLedger,     ///< See what other users have ever used, and check the ledger.
  kSetQuota,       ///< Say how much a user may have.
  kPriority,       ///< Be served before others whose requests wait: a priority above 0.
};

/// Who may do everything: root, the user whose manager it is, and those whom he names.
struct Operators {
  bool insecure = false;  ///< Network peers are operators, though nothing proves who they are.
  std::uint32_t manager_uid = kUnknownUid;
  std::string group;  ///< For texts; empty: no further ones.
  std::uint32_t gid = kUnknownGid;
  std::set<std::uint32_t> members;

  /// The user of this process, and the members of `group` as they are now; kInvalid: there is no
  /// such group. Asks the system's databases, which may be on a network.
  static Result<Operators> of_this_process(const std::string& group = {}, bool insecure = false);
  [[nodiscard]] bool include(const Caller& caller) const;
  /// As far as the user alone says it: not by the group of one of his processes.
  [[nodiscard]] bool include_user(std::uint32_t uid) const;
  /// "root, uid 990 and the members of sublet-ops".
  [[nodiscard]] std::string to_string() const;
};

/// THE RULE  Whoever is proved may lease, see the nodes, and see, extend and end his own leases.
///           Everything else is the operators'. Where the manager runs with --insecure whoever
///           reaches it over the network is taken for one of them.
///
/// Every call that needs a right asks here, and nowhere else is it decided. kDenied says who asked,
/// for what, and who may.
Result<void> authorize(const Caller& caller, Right right, const Operators& operators);

/// That `caller` may do `right` to something of `owner_uid`'s: his own, or with the right.
Result<void> authorize_for(const Caller& caller, std::uint32_t owner_uid, Right right,
                           const Operators& operators);

}  // namespace sublet::manager
