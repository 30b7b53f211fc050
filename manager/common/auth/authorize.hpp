#pragma once

#include <common/auth/caller.hpp>
#include <sublet/result.hpp>

#include <cstdint>

namespace sublet::manager {

/// What a caller asks of a resource manager. (The right to a grant that exists is its token's.)
enum class Right : std::uint8_t {
  kLease,       ///< Get cores.
  kDrain,       ///< Give a node back, which ends the leases on it, or take that back.
  kRelease,     ///< End anybody's lease.
  kForget,      ///< Remove a lost node, which ends the leases on it.
  kViewNodes,   ///< See all nodes, and what is free on them.
  kViewLeases,  ///< See everybody's leases, and what they have used.
  kViewLedger,  ///< See what everybody has used, ever.
};

/// THE RULE  Whoever reaches a resource manager's socket may lease. Who may lease may drain,
///           release, forget and see everything. So the sockets are what is guarded: by the mode of
///           their directory, or by who can reach the network.
///
/// Every call that needs a right asks here, and nowhere else is it decided. kDenied says who asked
/// and for what.
Result<void> authorize(const Caller& caller, Right right);

}  // namespace sublet::manager
