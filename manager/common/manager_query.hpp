#pragma once

// Asking a resource manager from a program that has no event loop: the command line, and tests.

#include <sublet/result.hpp>
#include <sublet/session.hpp>
#include <wire/manager_address.hpp>
#include <wire/manager_calls.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace sublet::manager {

/// Each connects, checks that it is the manager meant, asks and closes, within `limit` altogether;
/// blocks. kDisconnected when nobody answers.
Result<std::vector<NodeInfo>> query_nodes(const wire::ManagerLocation& location,
                                          std::chrono::milliseconds limit);
Result<std::vector<LeaseInfo>> query_leases(const wire::ManagerLocation& location,
                                            bool include_ended, std::chrono::milliseconds limit);
/// Tells the resource manager to give a node back; see wire::ResourceManager::drain.
Result<void> order_drain(const wire::ManagerLocation& location, const std::string& node,
                         std::chrono::milliseconds drain_limit, const std::string& reason,
                         std::chrono::milliseconds limit, bool own_notice = false);
/// As order_drain, and waits until it is known what became of the nodes of that name: for
/// `drain_limit`, wire::kDrainMargin and `limit`. Empty: the manager is of a version that cannot
/// tell.
Result<std::vector<wire::DrainReport>> await_drain(const wire::ManagerLocation& location,
                                                   const std::string& node,
                                                   std::chrono::milliseconds drain_limit,
                                                   const std::string& reason,
                                                   std::chrono::milliseconds limit,
                                                   bool own_notice = false);
Result<void> cancel_drain(const wire::ManagerLocation& location, const std::string& node,
                          std::chrono::milliseconds limit);
/// Within wire::kRevokeCall more: executors have to end. How long it still has, with `notice`.
Result<std::chrono::milliseconds> release_lease(const wire::ManagerLocation& location,
                                                std::uint64_t lease_id, const std::string& reason,
                                                std::chrono::milliseconds limit,
                                                bool notice = false);
Result<void> set_quota(const wire::ManagerLocation& location, const wire::QuotaOrder& order,
                       std::chrono::milliseconds limit);
Result<std::vector<wire::QuotaInfo>> query_quotas(const wire::ManagerLocation& location,
                                                  std::chrono::milliseconds limit);
Result<wire::Forgotten> forget_node(const wire::ManagerLocation& location, const std::string& node,
                                    std::chrono::milliseconds limit);
/// One page; its `next` asks for the page after it.
Result<wire::LedgerPage> query_ledger(const wire::ManagerLocation& location,
                                      const wire::LedgerFilter& filter,
                                      std::chrono::milliseconds limit);
Result<wire::LedgerCheck> verify_ledger(const wire::ManagerLocation& location,
                                        std::chrono::milliseconds limit);
Result<wire::ConnectionCounts> query_connections(const wire::ManagerLocation& location,
                                                 std::chrono::milliseconds limit);
/// Its clock beside this process's.
Result<wire::ManagersClock> query_clock(const wire::ManagerLocation& location,
                                        std::chrono::milliseconds limit);
Result<std::string> query_version(const wire::ManagerLocation& location,
                                  std::chrono::milliseconds limit);

}  // namespace sublet::manager
