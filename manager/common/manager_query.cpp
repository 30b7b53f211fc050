#include <common/async.hpp>
#include <common/manager_clock.hpp>
#include <common/manager_query.hpp>
#include <common/rpc_connection.hpp>
#include <wire/limits.hpp>

#include <thread>

namespace sublet::manager {
namespace {

/// Runs `ask(manager)`, which promises a Result<Answer>, on an event loop of its own.
template <class Answer, class Ask>
Result<Answer> query_here(const wire::ManagerLocation& location, const wire::Address& address,
                          std::chrono::milliseconds limit, const Ask& ask) {
  try {
    auto io = kj::setupAsyncIo();
    auto& timer = io.provider->getTimer();
    const auto trust = location.trust != nullptr ? location.trust : wire::Trust::load({});
    auto answer = RpcConnection::connect(io.provider->getNetwork(), timer, address, limit, trust)
                      .then([&](kj::Own<RpcConnection> connection) {
                        auto manager = connection->bootstrap().castAs<wire::ResourceManager>();
                        return wire::check_instance(manager, location)
                            .then([&ask, manager]() mutable { return ask(kj::mv(manager)); })
                            .attach(kj::mv(connection));
                      });
    return within(timer, limit, kj::mv(answer), "the answer").wait(io.waitScope);
  } catch (const kj::Exception& exception) {
    const std::string text = "asking " + location.to_string() + ": " + text_of(exception);
    if (exception.getType() == kj::Exception::Type::FAILED) return fail(ErrorKind::kDenied, text);
    return fail(ErrorKind::kDisconnected, text + "; " + location.advice());
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

Result<std::vector<NodeInfo>> query_nodes(const wire::ManagerLocation& location,
                                          std::chrono::milliseconds limit) {
  return query<std::vector<NodeInfo>>(location, limit, wire::ask_nodes);
}

Result<std::vector<LeaseInfo>> query_leases(const wire::ManagerLocation& location,
                                            bool include_ended, std::chrono::milliseconds limit) {
  return query<std::vector<LeaseInfo>>(location, limit,
                                       [include_ended](wire::ResourceManager::Client manager) {
                                         return wire::ask_leases(kj::mv(manager), include_ended);
                                       });
}

Result<void> order_drain(const wire::ManagerLocation& location, const std::string& node,
                         std::chrono::milliseconds drain_limit, const std::string& reason,
                         std::chrono::milliseconds limit, bool own_notice) {
  return query<void>(location, limit, [&](wire::ResourceManager::Client manager) {
    return wire::ask_drain(kj::mv(manager), node, drain_limit, reason, false, own_notice)
        .then([](Result<std::vector<wire::DrainReport>>&& told) -> Result<void> {
          if (!told) return tl::unexpected<Error>(told.error());
          return {};
        });
  });
}

Result<std::vector<wire::DrainReport>> await_drain(const wire::ManagerLocation& location,
                                                   const std::string& node,
                                                   std::chrono::milliseconds drain_limit,
                                                   const std::string& reason,
                                                   std::chrono::milliseconds limit,
                                                   bool own_notice) {
  using Answer = Result<std::vector<wire::DrainReport>>;
  return query<std::vector<wire::DrainReport>>(
      location, drain_limit + wire::kDrainMargin + limit,
      [&](wire::ResourceManager::Client manager) {
        return wire::ask_drain(kj::mv(manager), node, drain_limit, reason, true, own_notice)
            .catch_([&](kj::Exception&& exception) {
              return Answer(fail(ErrorKind::kDisconnected,
                                 "what became of node " + node +
                                     " is not known, the resource manager went away meanwhile (" +
                                     text_of(exception) +
                                     "); the node drains on if it has been told; `sublet nodes` "
                                     "lists those that have not left"));
            });
      });
}

Result<void> cancel_drain(const wire::ManagerLocation& location, const std::string& node,
                          std::chrono::milliseconds limit) {
  return query<void>(location, limit, [&](wire::ResourceManager::Client manager) {
    return wire::ask_cancel_drain(kj::mv(manager), node);
  });
}

Result<std::chrono::milliseconds> release_lease(const wire::ManagerLocation& location,
                                                std::uint64_t lease_id, const std::string& reason,
                                                std::chrono::milliseconds limit, bool notice) {
  return query<std::chrono::milliseconds>(
      location, limit + wire::kRevokeCall, [&](wire::ResourceManager::Client manager) {
        return wire::ask_release(kj::mv(manager), lease_id, reason, notice);
      });
}

Result<void> set_quota(const wire::ManagerLocation& location, const wire::QuotaOrder& order,
                       std::chrono::milliseconds limit) {
  return query<void>(location, limit, [&](wire::ResourceManager::Client manager) {
    return wire::ask_set_quota(kj::mv(manager), order);
  });
}

Result<std::vector<wire::QuotaInfo>> query_quotas(const wire::ManagerLocation& location,
                                                  std::chrono::milliseconds limit) {
  return query<std::vector<wire::QuotaInfo>>(location, limit, wire::ask_quotas);
}

Result<wire::Forgotten> forget_node(const wire::ManagerLocation& location, const std::string& node,
                                    std::chrono::milliseconds limit) {
  return query<wire::Forgotten>(location, limit, [&](wire::ResourceManager::Client manager) {
    return wire::ask_forget(kj::mv(manager), node);
  });
}

Result<wire::LedgerPage> query_ledger(const wire::ManagerLocation& location,
                                      const wire::LedgerFilter& filter,
                                      std::chrono::milliseconds limit) {
  return query<wire::LedgerPage>(location, limit, [&filter](wire::ResourceManager::Client manager) {
    return wire::ask_ledger(kj::mv(manager), filter);
  });
}

Result<wire::LedgerCheck> verify_ledger(const wire::ManagerLocation& location,
                                        std::chrono::milliseconds limit) {
  return query<wire::LedgerCheck>(location, limit, wire::ask_verify_ledger);
}

Result<wire::ConnectionCounts> query_connections(const wire::ManagerLocation& location,
                                                 std::chrono::milliseconds limit) {
  return query<wire::ConnectionCounts>(location, limit, wire::ask_connections);
}

Result<wire::ManagersClock> query_clock(const wire::ManagerLocation& location,
                                        std::chrono::milliseconds limit) {
  return query<wire::ManagersClock>(location, limit, [](wire::ResourceManager::Client manager) {
    return wire::ask_clock(kj::mv(manager),
                           [clock = ManagerClock()] { return clock.now().time_since_epoch(); });
  });
}

Result<std::string> query_version(const wire::ManagerLocation& location,
                                  std::chrono::milliseconds limit) {
  return query<std::string>(location, limit, wire::ask_version);
}

}  // namespace sublet::manager
