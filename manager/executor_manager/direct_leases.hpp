#pragma once

#include <common/auth/authorize.hpp>
#include <common/grant_terms.hpp>
#include <common/sealing.hpp>
#include <sublet/lease.hpp>
#include <sublet/result.hpp>
#include <sublet/session.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace sublet::manager {

class ExecutorManager;
class HeldGrant;
struct ExecutorManagerOptions;

/// What a client asks of this node alone.
struct DirectRequest {
  struct Share {
    std::uint32_t part = 0;
    std::uint32_t workers = 0;
    std::uint64_t memory_bytes = 0;
  };
  LeaseId lease{};       ///< The client's choice.
  LeaseRequest request;  ///< With a holder for each share.
  std::vector<Share> shares;
  std::string owner;  ///< As the client says it.
  std::uint32_t slurm_job = 0;
};

/// What this node leases by itself, to clients that ask no resource manager, when its operator
/// allows it. The cores come out of the same inventory as a resource manager's, and the grants are
/// held, claimed and ended in the same way; this node signs them.
///
/// Owner: the executor manager; on its loop.
class DirectLeases {
 public:
  DirectLeases(ExecutorManager& node, const ExecutorManagerOptions& options);

  /// The node, and what is free on it. kDenied: it does not lease so, or not to this caller.
  Result<NodeInfo> look(const Caller& caller) const;
  /// All shares or none. kOverloaded when so much is not free.
  Result<std::vector<SealedTerms>> lease(const DirectRequest& asked, const Caller& caller);
  /// The new end. kUnsupported: it is a resource manager's grant.
  Result<Time> extend(HeldGrant& grant, milliseconds duration) const;

 private:
  [[nodiscard]] Result<void> allowed(const Caller& caller) const;

  ExecutorManager& node_;
  const bool enabled_;
  Operators operators_;  ///< The user of this process alone.
};

}  // namespace sublet::manager
