#pragma once

// What anybody can ask a resource manager: for clients, the command line, and whatever else talks
// to one. Each call sends one request; a refusal comes back as the Error that the manager gave, a
// broken connection as a kj::Exception.

#include <sublet/lease.hpp>
#include <sublet/result.hpp>
#include <sublet/session.hpp>
#include <wire/control.capnp.h>
#include <wire/drain_report.hpp>
#include <wire/ledger_page.hpp>
#include <wire/manager_address.hpp>
#include <wire/placement.hpp>
#include <wire/quota_info.hpp>
#include <wire/signing_key.hpp>

#include <kj/async.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace sublet::wire {

/// A kj::Exception of type DISCONNECTED when what answers is no resource manager, or another one
/// than wrote `location`'s file.
kj::Promise<void> check_instance(ResourceManager::Client manager, const ManagerLocation& location);

/// As the wire has it: what is negative is nothing.
std::uint64_t to_wire_ms(std::chrono::milliseconds duration);

struct Granted {
  std::vector<sublet::Grant> grants;
  /// Dropping them ends the grants that nobody has claimed.
  std::vector<LeaseHandle::Client> handles{};
};
/// `client_node_id` is who asks, for placement near; `owner` is for people to read, `slurm_job` for
/// the ledger.
kj::Promise<Result<Granted>> ask_lease(ResourceManager::Client manager,
                                       const sublet::LeaseRequest& request,
                                       const std::string& client_node_id, const std::string& owner,
                                       std::uint32_t slurm_job = 0);
/// What an executor manager has that leases by itself.
kj::Promise<Result<NodeInfo>> ask_look(ExecutorManager::Client manager);
/// Of a lease that its client places by itself.
struct DirectLease {
  std::uint64_t number = 0;   ///< As signed_grant.hpp has it.
  std::vector<Share> shares;  ///< All of one executor manager.
};
/// `request.holders` has one for each part of the whole lease.
kj::Promise<Result<Granted>> ask_shares(ExecutorManager::Client manager,
                                        const sublet::LeaseRequest& request,
                                        const std::string& client_node_id, const std::string& owner,
                                        std::uint32_t slurm_job, const DirectLease& lease);
/// The new end, in Unix milliseconds.
kj::Promise<Result<std::int64_t>> ask_extension(ResourceManager::Client manager,
                                                const sublet::Grant& grant,
                                                std::chrono::milliseconds duration);
kj::Promise<Result<std::vector<NodeInfo>>> ask_nodes(ResourceManager::Client manager);
kj::Promise<Result<std::vector<LeaseInfo>>> ask_leases(ResourceManager::Client manager,
                                                       bool include_ended);
/// With `wait` it answers when it is known what became of each node of that name. With `own_notice`
/// each lease has its own notice period, if that is less than `limit`. Empty: it does
/// not wait, or the manager is of a version that cannot.
kj::Promise<Result<std::vector<DrainReport>>> ask_drain(ResourceManager::Client manager,
                                                        const std::string& node,
                                                        std::chrono::milliseconds limit,
                                                        const std::string& reason, bool wait,
                                                        bool own_notice = false);
kj::Promise<Result<void>> ask_cancel_drain(ResourceManager::Client manager,
                                           const std::string& node);
/// Answers once the cores are free: 0; with `notice` once its nodes know of it: how long it has.
kj::Promise<Result<std::chrono::milliseconds>> ask_release(ResourceManager::Client manager,
                                                           std::uint64_t lease_id,
                                                           const std::string& reason,
                                                           bool notice = false);
kj::Promise<Result<void>> ask_set_quota(ResourceManager::Client manager, const QuotaOrder& order);
kj::Promise<Result<std::vector<QuotaInfo>>> ask_quotas(ResourceManager::Client manager);
struct Forgotten {
  std::uint32_t nodes = 0;
  std::uint32_t leases = 0;  ///< That were on them.
  std::uint32_t up = 0;      ///< Nodes of that name that are connected: they stay.
};
kj::Promise<Result<Forgotten>> ask_forget(ResourceManager::Client manager, const std::string& node);
struct ConnectionCounts {
  std::uint64_t now = 0;
  std::uint64_t limit = 0;
  std::uint64_t closed = 0;   ///< For others, since the manager started.
  std::uint64_t refused = 0;  ///< Since then.
};
/// One page; its `next` asks for the page after it.
kj::Promise<Result<LedgerPage>> ask_ledger(ResourceManager::Client manager,
                                           const LedgerFilter& filter);
kj::Promise<Result<LedgerCheck>> ask_verify_ledger(ResourceManager::Client manager);
kj::Promise<Result<ConnectionCounts>> ask_connections(ResourceManager::Client manager);
struct ManagersClock {
  std::chrono::milliseconds since_1970{0};
  PublicKey grant_key{};
  std::chrono::milliseconds tolerance{0};  ///< How far apart the clocks of nodes may be.
  /// How far this process's clock, which says `now`, is ahead of it, and how wrong that may be:
  /// half the time that the answer took.
  std::chrono::milliseconds ahead{0};
  std::chrono::milliseconds error{0};
};
/// `now`: this process's clock, since 1970.
kj::Promise<Result<ManagersClock>> ask_clock(ResourceManager::Client manager,
                                             std::function<std::chrono::milliseconds()> now);
kj::Promise<Result<std::string>> ask_version(ResourceManager::Client manager);

}  // namespace sublet::wire
