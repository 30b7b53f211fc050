#pragma once

#include <common/auth/caller.hpp>
#include <common/types.hpp>
#include <sublet/session.hpp>
#include <wire/signing_key.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace sublet::manager {

/// What an executor manager offers.
struct NodeOffer {
  std::string name;
  std::string node_id;
  std::uint32_t cores = 0;  ///< As often as each is offered.
  std::uint64_t memory_bytes = 0;
  std::string cpuset;
  std::vector<std::string> addresses;
  /// The most cores that one worker can have: each counts once. 0: not said, then as `cores`.
  std::uint32_t widest_worker = 0;
  std::vector<GpuInfo> gpus{};  ///< Each once, in the order of the node.
  wire::PublicKey key{};  ///< The audience of grants for it, as long as its executor manager runs.
  // Its clock against the resource manager's, measured before it registers:
  milliseconds clock_ahead{0};
  milliseconds clock_error{0};
};

/// What a node has leased by itself, to clients that ask no resource manager.
struct DirectUse {
  std::uint32_t cores = 0;
  std::uint64_t memory_bytes = 0;
  std::uint32_t gpus = 0;

  bool operator==(const DirectUse&) const = default;
};

/// Who asks for a lease.
struct Requester {
  Caller caller;
  std::string node_id;          ///< Its own node, as it says: for placement near.
  std::string owner;            ///< user@node, as it says: for people to read.
  std::uint32_t slurm_job = 0;  ///< As it says; 0: none.
};

/// A grant as both managers know it: all that a node is told, and tells again when it registers
/// with it.
struct GrantTerms {
  GrantKey key;
  std::uint32_t workers = 0;
  std::uint32_t cores_per_worker = 1;
  std::uint32_t gpus_per_worker = 0;
  std::uint64_t memory_bytes = 0;
  Token token{};
  Time expires{};
  std::int64_t hot_timeout_ms = -1;
  std::uint32_t slots = 16;
  std::uint64_t arena_bytes = 0;
  std::string owner;
  std::uint32_t owner_uid = kUnknownUid;
  bool owner_by_key = false;    ///< It is a key file's owner, who need not be the process's user.
  std::uint32_t slurm_job = 0;  ///< 0: none.
  std::int32_t priority = 0;
  milliseconds notice{5000};  ///< Before its end, for its client to be told.
  // What a node says as it registers, or when the grant has ended:
  bool claimed = false;
  milliseconds held_for{0};

  /// wire/limits.hpp bounds it.
  [[nodiscard]] std::uint32_t cores() const noexcept { return workers * cores_per_worker; }
  [[nodiscard]] std::uint32_t gpus() const noexcept { return workers * gpus_per_worker; }
};

/// A grant that has ended on its node, as the node tells it.
struct EndedGrant {
  GrantTerms terms;
  Usage usage;  ///< In all.
  std::string reason;
  milliseconds ago{0};
};

}  // namespace sublet::manager
