#include <base/node_identity.hpp>
#include <common/async.hpp>
#include <common/manager_query.hpp>
#include <common/rpc_connection.hpp>
#include <wire/control.capnp.h>
#include <wire/convert.hpp>

#include <cstdlib>
#include <thread>

namespace sublet::manager {
namespace {

/// Runs `ask(manager)` on an event loop of its own.
template <class Answer, class Ask>
Result<Answer> query_here(const wire::Address& address, std::chrono::milliseconds limit,
                          const Ask& ask) {
  try {
    auto io = kj::setupAsyncIo();
    auto& timer = io.provider->getTimer();
    auto answer = RpcConnection::connect(io.provider->getNetwork(), timer, address, limit)
                      .then([&ask](kj::Own<RpcConnection> connection) {
                        auto manager = connection->bootstrap().castAs<wire::ResourceManager>();
                        return ask(kj::mv(manager)).attach(kj::mv(connection));
                      });
    return within(timer, limit, kj::mv(answer), "the answer").wait(io.waitScope);
  } catch (const kj::Exception& exception) {
    return fail(ErrorKind::kDisconnected, "asking the resource manager at " + address.to_string() +
                                              ": " + text_of(exception) +
                                              "; is it running, and is this its address?");
  }
}

/// On a thread of its own: the caller's may have an event loop already.
template <class Answer, class Ask>
Result<Answer> query(const std::string& text, std::chrono::milliseconds limit, const Ask& ask) {
  const auto address = wire::Address::parse(text);
  if (!address) return tl::unexpected<Error>(address.error());
  Result<Answer> answer = fail(ErrorKind::kInternal, "nothing was asked");
  std::thread asking([&] { answer = query_here<Answer>(*address, limit, ask); });
  asking.join();
  return answer;
}

}  // namespace

std::string default_manager_address() {
  if (const char* address = std::getenv("SUBLET_MANAGER"); address != nullptr && *address != '\0') {
    return address;
  }
  return "unix:" + base::runtime_directory() + "/manager.sock";
}

Result<std::vector<NodeReport>> query_nodes(const std::string& address,
                                            std::chrono::milliseconds limit) {
  using Reports = std::vector<NodeReport>;
  return query<Reports>(address, limit, [](wire::ResourceManager::Client manager) {
    return manager.nodesRequest().send().then([](auto&& response) {
      Reports reports;
      for (const auto node : response.getNodes()) {
        reports.push_back({wire::read(node), node.getHeartbeatAgeMs()});
      }
      return reports;
    });
  });
}

Result<std::vector<LeaseInfo>> query_leases(const std::string& address, bool include_ended,
                                            std::chrono::milliseconds limit) {
  using Leases = std::vector<LeaseInfo>;
  return query<Leases>(address, limit, [include_ended](wire::ResourceManager::Client manager) {
    auto request = manager.leasesRequest();
    request.setIncludeEnded(include_ended);
    return request.send().then([](auto&& response) {
      Leases leases;
      for (const auto lease : response.getLeases()) leases.push_back(wire::read(lease));
      return leases;
    });
  });
}

Result<std::string> query_version(const std::string& address, std::chrono::milliseconds limit) {
  return query<std::string>(address, limit, [](wire::ResourceManager::Client manager) {
    return manager.versionRequest().send().then(
        [](auto&& response) { return wire::to_string(response.getVersion()); });
  });
}

}  // namespace sublet::manager
