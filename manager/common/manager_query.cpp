#include <common/async.hpp>
#include <common/manager_query.hpp>
#include <common/rpc_connection.hpp>
#include <wire/control.capnp.h>
#include <wire/convert.hpp>

#include <optional>
#include <thread>

namespace sublet::manager {
namespace {

/// Fails when another manager answers than the one that wrote the address file.
kj::Promise<void> check(wire::ResourceManager::Client manager,
                        const wire::ManagerLocation& location) {
  if (location.instance.empty()) return kj::READY_NOW;
  return manager.versionRequest().send().then([&location](auto&& response) {
    if (wire::to_string(response.getInstance()) == location.instance) return;
    kj::throwFatalException(
        KJ_EXCEPTION(FAILED, "another resource manager answers there than wrote that file"));
  });
}

/// Runs `ask(manager)` on an event loop of its own.
template <class Answer, class Ask>
Result<Answer> query_here(const wire::ManagerLocation& location, const wire::Address& address,
                          std::chrono::milliseconds limit, const Ask& ask) {
  try {
    auto io = kj::setupAsyncIo();
    auto& timer = io.provider->getTimer();
    auto answer = RpcConnection::connect(io.provider->getNetwork(), timer, address, limit)
                      .then([&](kj::Own<RpcConnection> connection) {
                        auto manager = connection->bootstrap().castAs<wire::ResourceManager>();
                        return check(manager, location)
                            .then([&ask, manager]() mutable { return ask(kj::mv(manager)); })
                            .attach(kj::mv(connection));
                      });
    return within(timer, limit, kj::mv(answer), "the answer").wait(io.waitScope);
  } catch (const kj::Exception& exception) {
    return fail(ErrorKind::kDisconnected, "asking " + location.to_string() + ": " +
                                              text_of(exception) + "; " + location.advice());
  }
}

/// On a thread of its own: the caller's may have an event loop already.
template <class Answer, class Ask>
Result<Answer> query(const wire::ManagerLocation& location, std::chrono::milliseconds limit,
                     const Ask& ask) {
  const auto address = wire::Address::parse(location.address);
  if (!address) return tl::unexpected<Error>(address.error());
  Result<Answer> answer = fail(ErrorKind::kInternal, "nothing was asked");
  std::thread asking([&] { answer = query_here<Answer>(location, *address, limit, ask); });
  asking.join();
  return answer;
}

}  // namespace

Result<std::vector<NodeReport>> query_nodes(const wire::ManagerLocation& location,
                                            std::chrono::milliseconds limit) {
  using Reports = std::vector<NodeReport>;
  return query<Reports>(location, limit, [](wire::ResourceManager::Client manager) {
    return manager.nodesRequest().send().then([](auto&& response) {
      Reports reports;
      for (const auto node : response.getNodes()) {
        reports.push_back({wire::read(node), node.getHeartbeatAgeMs()});
      }
      return reports;
    });
  });
}

Result<std::vector<LeaseInfo>> query_leases(const wire::ManagerLocation& location,
                                            bool include_ended, std::chrono::milliseconds limit) {
  using Leases = std::vector<LeaseInfo>;
  return query<Leases>(location, limit, [include_ended](wire::ResourceManager::Client manager) {
    auto request = manager.leasesRequest();
    request.setIncludeEnded(include_ended);
    return request.send().then([](auto&& response) {
      Leases leases;
      for (const auto lease : response.getLeases()) leases.push_back(wire::read(lease));
      return leases;
    });
  });
}

Result<void> order_drain(const wire::ManagerLocation& location, const std::string& node,
                         std::chrono::milliseconds drain_limit, const std::string& reason,
                         std::chrono::milliseconds limit) {
  using Refusal = std::optional<Error>;
  const auto refusal = query<Refusal>(location, limit, [&](wire::ResourceManager::Client manager) {
    auto request = manager.drainRequest();
    request.setNode(node);
    request.setLimitMs(static_cast<std::uint64_t>(drain_limit.count()));
    request.setReason(reason);
    return request.send().then(
        [](auto&& response) -> Refusal { return wire::failure_of(response); });
  });
  if (!refusal) return tl::unexpected<Error>(refusal.error());
  if (*refusal) return tl::unexpected<Error>(**refusal);
  return {};
}

Result<std::string> query_version(const wire::ManagerLocation& location,
                                  std::chrono::milliseconds limit) {
  return query<std::string>(location, limit, [](wire::ResourceManager::Client manager) {
    return manager.versionRequest().send().then(
        [](auto&& response) { return wire::to_string(response.getVersion()); });
  });
}

}  // namespace sublet::manager
