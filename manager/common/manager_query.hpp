#pragma once

// Asking a resource manager from a program that has no event loop: the command line, and tests.

#include <sublet/result.hpp>
#include <sublet/session.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace sublet::manager {

struct NodeReport {
  NodeInfo info;
  std::uint64_t heartbeat_age_ms = 0;
};

/// Where the resource manager is when nobody says: $SUBLET_MANAGER, else this user's local one.
std::string default_manager_address();

/// Each connects, asks and closes, within `limit` altogether; blocks. kDisconnected when nobody
/// answers.
Result<std::vector<NodeReport>> query_nodes(const std::string& address,
                                            std::chrono::milliseconds limit);
Result<std::vector<LeaseInfo>> query_leases(const std::string& address, bool include_ended,
                                            std::chrono::milliseconds limit);
Result<std::string> query_version(const std::string& address, std::chrono::milliseconds limit);

}  // namespace sublet::manager
