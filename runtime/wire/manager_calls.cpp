#include <wire/convert.hpp>
#include <wire/limits.hpp>
#include <wire/manager_calls.hpp>

#include <kj/debug.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace sublet::wire {
namespace {

/// Sends `request`; what `read` makes of the results, or their failure.
template <class T, class Request, class Read>
kj::Promise<Result<T>> answer(Request&& request, Read read) {
  return request.send().then([read = std::move(read)](auto&& results) -> Result<T> {
    if (auto failure = failure_of(results)) return tl::unexpected<Error>(std::move(*failure));
    return read(results);
  });
}

template <class Results>
Result<Granted> read_granted(Results& results) {
  Granted granted;
  granted.handles.push_back(results.getHandle());
  for (const auto grant : results.getGrants()) {
    auto checked = read(grant);
    if (!checked) return tl::unexpected<Error>(std::move(checked.error()));
    granted.grants.push_back(std::move(*checked));
  }
  return granted;
}

}  // namespace

std::uint64_t to_wire_ms(std::chrono::milliseconds duration) {
  return duration.count() < 0 ? 0 : static_cast<std::uint64_t>(duration.count());
}

kj::Promise<void> check_instance(ResourceManager::Client manager, const ManagerLocation& location) {
  return manager.versionRequest().send().then(
      [expected = location.instance](auto&& response) {
        if (expected.empty() || to_string(response.getInstance()) == expected) return;
        kj::throwFatalException(KJ_EXCEPTION(
            DISCONNECTED, "another resource manager answers there than wrote that file"));
      },
      [](kj::Exception&& exception) {
        if (exception.getType() == kj::Exception::Type::UNIMPLEMENTED) {
          kj::throwFatalException(
              KJ_EXCEPTION(UNIMPLEMENTED,
                           "an executor manager answers there, which knows its own node alone; "
                           "name the address of the resource manager"));
        }
        kj::throwFatalException(kj::mv(exception));
      });
}

kj::Promise<Result<Granted>> ask_lease(ResourceManager::Client manager,
                                       const sublet::LeaseRequest& wanted,
                                       const std::string& client_node_id, const std::string& owner,
                                       std::uint32_t slurm_job) {
  auto request = manager.leaseRequest();
  write(request.initRequest(), wanted, client_node_id, owner, slurm_job);
  return answer<Granted>(request, [](auto& results) { return read_granted(results); });
}

kj::Promise<Result<NodeInfo>> ask_look(ExecutorManager::Client manager) {
  return answer<NodeInfo>(manager.lookRequest(),
                          [](auto& results) -> NodeInfo { return read(results.getNode()); });
}

kj::Promise<Result<Granted>> ask_shares(ExecutorManager::Client manager,
                                        const sublet::LeaseRequest& whole,
                                        const std::string& client_node_id, const std::string& owner,
                                        std::uint32_t slurm_job, const DirectLease& lease) {
  sublet::LeaseRequest theirs = whole;
  theirs.parts = static_cast<std::uint32_t>(lease.shares.size());
  theirs.holders.clear();
  for (const Share& share : lease.shares) theirs.holders.push_back(whole.holders.at(share.part));
  auto request = manager.leaseRequest();
  write(request.initRequest(), theirs, client_node_id, owner, slurm_job);
  request.setLeaseId(lease.number);
  auto list = request.initShares(static_cast<unsigned>(lease.shares.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    list[i].setPart(lease.shares[i].part);
    list[i].setWorkers(lease.shares[i].workers);
    list[i].setMemoryBytes(lease.shares[i].memory_bytes);
  }
  return answer<Granted>(request, [](auto& results) { return read_granted(results); });
}

kj::Promise<Result<std::int64_t>> ask_extension(ResourceManager::Client manager,
                                                const sublet::Grant& grant,
                                                std::chrono::milliseconds duration) {
  auto request = manager.extendRequest();
  request.setLeaseId(grant.lease_id);
  request.setToken(to_data(grant.token));
  request.setDurationMs(to_wire_ms(duration));
  return answer<std::int64_t>(
      request, [](auto& results) -> std::int64_t { return results.getExpiresUnixMs(); });
}

kj::Promise<Result<std::vector<NodeInfo>>> ask_nodes(ResourceManager::Client manager) {
  return answer<std::vector<NodeInfo>>(manager.nodesRequest(), [](auto& results) {
    std::vector<NodeInfo> nodes;
    for (const auto node : results.getNodes()) nodes.push_back(read(node));
    return nodes;
  });
}

kj::Promise<Result<std::vector<LeaseInfo>>> ask_leases(ResourceManager::Client manager,
                                                       bool include_ended) {
  auto request = manager.leasesRequest();
  request.setIncludeEnded(include_ended);
  return answer<std::vector<LeaseInfo>>(request, [](auto& results) {
    std::vector<LeaseInfo> leases;
    for (const auto lease : results.getLeases()) leases.push_back(read(lease));
    return leases;
  });
}

kj::Promise<Result<std::vector<DrainReport>>> ask_drain(ResourceManager::Client manager,
                                                        const std::string& node,
                                                        std::chrono::milliseconds limit,
                                                        const std::string& reason, bool wait,
                                                        bool own_notice) {
  auto request = manager.drainRequest();
  request.setNode(node);
  request.setLimitMs(to_wire_ms(limit));
  request.setReason(reason);
  request.setWait(wait);
  request.setOwnNotice(own_notice);
  return answer<std::vector<DrainReport>>(request, [](auto& results) {
    std::vector<DrainReport> reports;
    for (const auto drained : results.getDrained()) reports.push_back(read(drained));
    return reports;
  });
}

kj::Promise<Result<void>> ask_cancel_drain(ResourceManager::Client manager,
                                           const std::string& node) {
  auto request = manager.cancelDrainRequest();
  request.setNode(node);
  return answer<void>(request, [](auto&) -> Result<void> { return {}; });
}

kj::Promise<Result<std::chrono::milliseconds>> ask_release(ResourceManager::Client manager,
                                                           std::uint64_t lease_id,
                                                           const std::string& reason, bool notice) {
  using std::chrono::milliseconds;
  auto request = manager.releaseRequest();
  request.setLeaseId(lease_id);
  request.setReason(reason);
  request.setNotice(notice);
  return answer<milliseconds>(request, [](auto& results) -> milliseconds {
    const auto most = static_cast<std::uint64_t>(milliseconds(kMaxNotice).count());
    return milliseconds(static_cast<std::int64_t>(std::min(results.getLeftMs(), most)));
  });
}

kj::Promise<Result<void>> ask_set_quota(ResourceManager::Client manager, const QuotaOrder& order) {
  auto request = manager.setQuotaRequest();
  request.setEverybody(order.everybody);
  request.setUid(order.uid);
  request.setClear(order.clear);
  request.setSetCores(order.set_cores);
  request.setSetCoreSeconds(order.set_core_seconds);
  write(request.initQuota(), order.quota);
  return answer<void>(request, [](auto&) -> Result<void> { return {}; });
}

kj::Promise<Result<std::vector<QuotaInfo>>> ask_quotas(ResourceManager::Client manager) {
  return answer<std::vector<QuotaInfo>>(manager.quotasRequest(), [](auto& results) {
    std::vector<QuotaInfo> quotas;
    for (const auto quota : results.getQuotas()) quotas.push_back(read(quota));
    return quotas;
  });
}

kj::Promise<Result<Forgotten>> ask_forget(ResourceManager::Client manager,
                                          const std::string& node) {
  auto request = manager.forgetRequest();
  request.setNode(node);
  return answer<Forgotten>(request, [](auto& results) -> Forgotten {
    return {results.getForgotten(), results.getLeases(), results.getUp()};
  });
}

kj::Promise<Result<LedgerPage>> ask_ledger(ResourceManager::Client manager,
                                           const LedgerFilter& filter) {
  auto request = manager.ledgerRequest();
  write(request.initQuery(), filter);
  return answer<LedgerPage>(request, [](auto& results) -> LedgerPage {
    LedgerPage page;
    for (const auto entry : results.getEntries()) page.rows.push_back(read(entry));
    page.next = results.getNext();
    return page;
  });
}

kj::Promise<Result<LedgerCheck>> ask_verify_ledger(ResourceManager::Client manager) {
  return answer<LedgerCheck>(manager.verifyLedgerRequest(), [](auto& results) -> LedgerCheck {
    LedgerCheck check;
    check.grants = results.getGrants();
    check.found = results.getFound();
    for (const auto text : results.getProblems()) {
      check.problems.push_back(cut_text(to_string(text), kMaxText));
    }
    return check;
  });
}

kj::Promise<Result<ConnectionCounts>> ask_connections(ResourceManager::Client manager) {
  return manager.connectionsRequest().send().then([](auto&& response) -> Result<ConnectionCounts> {
    return ConnectionCounts{response.getNow(), response.getLimit(), response.getClosed(),
                            response.getRefused()};
  });
}

kj::Promise<Result<ManagersClock>> ask_clock(ResourceManager::Client manager,
                                             std::function<std::chrono::milliseconds()> now) {
  const auto asked = now();
  return manager.clockRequest().send().then(
      [asked, now = std::move(now)](auto&& response) -> Result<ManagersClock> {
        const auto answered = now();
        const auto key = to_bytes(response.getGrantKey());
        ManagersClock clock;
        if (key.size() != clock.grant_key.size()) {
          return fail(ErrorKind::kInvalid,
                      "the resource manager's key has " + std::to_string(key.size()) + " bytes");
        }
        std::memcpy(clock.grant_key.data(), key.data(), key.size());
        constexpr std::int64_t kFar = std::int64_t{1} << 52;
        using Milliseconds = std::chrono::milliseconds;
        clock.since_1970 = Milliseconds(std::clamp<std::int64_t>(response.getUnixMs(), 0, kFar));
        clock.tolerance = Milliseconds(static_cast<std::int64_t>(
            std::min(response.getToleranceMs(), static_cast<std::uint64_t>(kFar))));
        clock.error = (answered - asked) / 2 + Milliseconds(1);  // it counts whole milliseconds
        clock.ahead = asked + (answered - asked) / 2 - clock.since_1970;
        return clock;
      });
}

kj::Promise<Result<std::string>> ask_version(ResourceManager::Client manager) {
  return manager.versionRequest().send().then(
      [](auto&& response) -> Result<std::string> { return to_string(response.getVersion()); });
}

}  // namespace sublet::wire
