#include <client/claim.hpp>
#include <wire/address.hpp>
#include <wire/convert.hpp>
#include <wire/limits.hpp>
#include <wire/signed_grant.hpp>

#include <algorithm>
#include <iterator>
#include <utility>

namespace sublet::client {
namespace {

/// For an answer at one of several addresses.
constexpr kj::Duration kEachAddress = 1 * kj::SECONDS;

class NoticeServer final : public wire::LeaseNotices::Server {
 public:
  explicit NoticeServer(std::shared_ptr<NodeState> state) : state_(std::move(state)) {}

  kj::Promise<void> ending(EndingContext context) override {
    const auto params = context.getParams();
    constexpr std::uint64_t kMostMs = std::uint64_t{1} << 40;
    state_->ending({std::chrono::milliseconds(
                        static_cast<std::int64_t>(std::min(params.getLeftMs(), kMostMs))),
                    wire::to_string(params.getReason()), params.getLeaving()});
    return kj::READY_NOW;
  }

  kj::Promise<void> stays(StaysContext) override {
    state_->stays();
    return kj::READY_NOW;
  }

  kj::Promise<void> lost(LostContext context) override {
    state_->lose(wire::to_string(context.getParams().getReason()));
    return kj::READY_NOW;
  }

 private:
  std::shared_ptr<NodeState> state_;
};

transport::Endpoint read_endpoint(wire::Endpoint::Reader from, const Grant& grant,
                                  const std::string& host) {
  transport::Endpoint endpoint;
  endpoint.generation = from.getGeneration();
  endpoint.add_local(wire::to_string(from.getLocal()));
  for (const auto address : from.getAddresses()) {
    endpoint.add(wire::to_string(address.getTransport()), wire::to_string(address.getAddress()),
                 host);
  }
  for (const auto refusal : from.getRefusals()) {
    endpoint.refusals.push_back(wire::to_string(refusal));
  }
  const std::size_t size = std::min(endpoint.token.size(), grant.token.size());
  std::transform(grant.token.begin(), grant.token.begin() + static_cast<std::ptrdiff_t>(size),
                 endpoint.token.begin(), [](std::byte b) { return static_cast<std::uint8_t>(b); });
  return endpoint;
}

/// The host of an executor manager's address, as it stands before a port.
std::string host_of(const std::string& address) {
  const auto parsed = wire::Address::parse(address);
  if (!parsed || parsed->kind == wire::Address::Kind::kUnix) return "127.0.0.1";
  const bool v6 = parsed->host.find(':') != std::string::npos;
  return v6 ? "[" + parsed->host + "]" : parsed->host;
}

bool is_unix(const std::string& address) {
  return address.starts_with("unix:");
}

/// An executor manager that answered, and at which address.
struct Reached {
  kj::Own<Connection> connection;
  std::string host;
  std::function<bool(std::uint32_t uid)> believes;  ///< NodeShare::believes.
};

/// Tells `state` of the end of each executor and of the start of the next, until there is none.
kj::Promise<void> follow_executors(wire::ClaimedLease::Client lease, const Grant& grant,
                                   const std::string& host, const std::shared_ptr<NodeState>& state,
                                   std::uint32_t generation) {
  auto fate = lease.fateRequest();
  fate.setGeneration(generation);
  return fate.send()
      .then([lease, state,
             generation](capnp::Response<wire::ClaimedLease::FateResults>&& results) mutable {
        ExecutorFate ended{
            wire::to_string(results.getText()), {}, error_kind_from(results.getKind())};
        for (const std::uint32_t number : results.getLastStarted()) {
          ended.last_started.push_back(number);
        }
        state->executor_ended(generation, std::move(ended));
        auto replacement = lease.replacementRequest();
        replacement.setGeneration(generation);
        return replacement.send();
      })
      .then([lease, grant, host,
             state](capnp::Response<wire::ClaimedLease::ReplacementResults>&& results) mutable
            -> kj::Promise<void> {
        if (auto failure = wire::failure_of(results)) {
          state->lose(failure->what());
          return kj::READY_NOW;
        }
        const auto endpoint = read_endpoint(results.getEndpoint(), grant, host);
        state->executor_started(endpoint);
        return follow_executors(lease, grant, host, state, endpoint.generation);
      });
}

using Networks = std::vector<transport::Kind>;

template <class Request>
void ask_for(Request& request, const Networks& networks) {
  auto names = request.initTransports(static_cast<unsigned>(networks.size()));
  for (unsigned i = 0; i < names.size(); ++i) names.set(i, to_string(networks[i]));
}

/// Lets the executor run our own program; where it takes connections then.
kj::Promise<Result<transport::Endpoint>> become(wire::ClaimedLease::Client lease,
                                                const Grant& grant, const std::string& host,
                                                const Application& application,
                                                const Networks& networks, bool may_install) {
  auto request = lease.becomeRequest();
  request.setSha256(wire::to_data(std::as_bytes(std::span(application.sha256))));
  request.setName(application.name);
  request.setSurroundings(application.surroundings);
  ask_for(request, networks);
  return request.send().then(
      [=, &application](capnp::Response<wire::ClaimedLease::BecomeResults>&& results) mutable
      -> kj::Promise<Result<transport::Endpoint>> {
        if (auto failure = wire::failure_of(results)) {
          return Result<transport::Endpoint>(tl::unexpected<Error>(*failure));
        }
        if (!results.getMissing()) {
          return Result<transport::Endpoint>(read_endpoint(results.getEndpoint(), grant, host));
        }
        if (!may_install) {
          return Result<transport::Endpoint>(fail(
              ErrorKind::kInternal, "node " + grant.node_name + " forgot the application '" +
                                        application.name + "' at once; is its cache too small?"));
        }
        auto install = lease.installRequest(
            capnp::MessageSize{application.content.size() / sizeof(capnp::word) + 16, 1});
        install.setContent(wire::to_data(application.content));
        install.setProgram(true);
        return install.send().then(
            [=,
             &application](capnp::Response<wire::ClaimedLease::InstallResults>&& installed) mutable
            -> kj::Promise<Result<transport::Endpoint>> {
              if (auto failure = wire::failure_of(installed)) {
                return Result<transport::Endpoint>(tl::unexpected<Error>(*failure));
              }
              return become(lease, grant, host, application, networks, false);
            });
      });
}

kj::Promise<Result<Claimed>> claim_at(const Grant& grant, transport::Preference preference,
                                      const ClientNode& client, std::shared_ptr<LeaseEvents> events,
                                      Reached reached) {
  const Application* const application = client.application;
  auto state = std::make_shared<NodeState>(std::move(events));
  auto request = reached.connection->bootstrap().castAs<wire::ExecutorManager>().claimRequest();
  request.setGrant(wire::to_data(grant.sealed));
  request.setProof(
      wire::to_data(wire::prove_holder(grant.sealed, reached.connection->binding(), *client.key)));
  request.setNotices(kj::heap<NoticeServer>(state));
  request.setKeep(client.keep);
  Networks networks;
  // Who borrows it says how it wants to reach it.
  if (!client.keep) {
    std::copy_if(preference.kinds.begin(), preference.kinds.end(), std::back_inserter(networks),
                 transport::reaches_other_nodes);
  }
  // A listener of the executor's would not outlive it.
  ask_for(request, application == nullptr ? networks : Networks());
  return request.send().then([grant = Grant(grant), state, networks, application,
                              preference = std::move(preference), reached = kj::mv(reached)](
                                 capnp::Response<wire::ExecutorManager::ClaimResults>&&
                                     results) mutable -> kj::Promise<Result<Claimed>> {
    if (auto failure = wire::failure_of(results)) {
      return Result<Claimed>(tl::unexpected<Error>(*failure));
    }
    const auto token = wire::to_bytes(results.getToken());
    if (token.size() != wire::kTokenBytes) {
      return Result<Claimed>(
          fail(ErrorKind::kInternal,
               "the executor manager of " + grant.node_name + " gave no token for its executors"));
    }
    grant.token.assign(token.begin(), token.end());
    if (results.getWorkers().size() != grant.cores) {
      return Result<Claimed>(
          fail(ErrorKind::kInternal, "the executor manager of " + grant.node_name + " has " +
                                         std::to_string(results.getWorkers().size()) +
                                         " workers for a grant of " + std::to_string(grant.cores)));
    }
    Claimed claimed{{grant, std::move(preference), {}, state, reached.believes}, nullptr};
    for (const auto worker : results.getWorkers()) {
      claimed.share.cpusets.push_back(wire::to_string(worker.getCpuset()));
      std::vector<std::string> gpus;
      for (const auto uuid : worker.getGpus()) gpus.push_back(wire::to_string(uuid));
      claimed.share.gpus.push_back(std::move(gpus));
    }
    auto lease = results.getLease();
    kj::Promise<Result<transport::Endpoint>> ready =
        Result<transport::Endpoint>(read_endpoint(results.getEndpoint(), grant, reached.host));
    if (application != nullptr) {
      ready = become(lease, grant, reached.host, *application, networks, true);
    }
    return ready.then([grant, state, lease, claimed = std::move(claimed),
                       reached = kj::mv(reached)](
                          Result<transport::Endpoint> endpoint) mutable -> Result<Claimed> {
      if (!endpoint) return tl::unexpected<Error>(endpoint.error());
      state->executor_started(*endpoint);
      auto watch = reached.connection->gone()
                       .then([state, name = grant.node_name] {
                         state->lose("the executor manager of node " + name + " went away", true);
                       })
                       .eagerlyEvaluate([state](kj::Exception&& exception) {
                         state->lose(exception.getDescription().cStr(), true);
                       });
      auto follow = follow_executors(lease, grant, reached.host, state, endpoint->generation)
                        .eagerlyEvaluate([](kj::Exception&&) {});  // `watch` tells of it
      claimed.remote.reset(
          new NodeRemote{kj::mv(reached.connection), kj::mv(lease), kj::mv(watch), kj::mv(follow)});
      return std::move(claimed);
    });
  });
}

/// Tries the addresses from `at` on.
kj::Promise<Result<Reached>> connect_first(ControlLoop& loop, std::vector<std::string> addresses,
                                           std::size_t at, std::string failures) {
  if (at == addresses.size()) {
    return Result<Reached>(
        fail(ErrorKind::kDisconnected,
             failures.empty() ? "it has no address reachable from here" : failures));
  }
  auto connecting = loop.connect(addresses[at]);
  // An address of a network that does not lead here may answer nothing at all.
  if (at + 1 < addresses.size()) {
    connecting =
        connecting.exclusiveJoin(loop.timer().afterDelay(kEachAddress).then([text = addresses[at]] {
          return Result<kj::Own<Connection>>(
              fail(ErrorKind::kDisconnected, "nothing answers at " + text + " within 1 s"));
        }));
  }
  return connecting.then(
      [&loop, addresses, at,
       failures](Result<kj::Own<Connection>> connected) mutable -> kj::Promise<Result<Reached>> {
        if (connected) {
          Reached reached{kj::mv(*connected), host_of(addresses[at]), {}};
          if (is_unix(addresses[at])) {
            reached.believes = [trust = loop.trust()](std::uint32_t uid) {
              return trust->believes_manager_of(uid);
            };
          }
          return Result<Reached>(kj::mv(reached));
        }
        if (!failures.empty()) failures += "; ";
        failures += connected.error().what();
        return connect_first(loop, std::move(addresses), at + 1, std::move(failures));
      });
}

}  // namespace

kj::Promise<Result<Claimed>> claim_grant(ControlLoop& loop, const Grant& grant,
                                         const ClientNode& client,
                                         std::shared_ptr<LeaseEvents> events) {
  const bool same_node = base::is_same_node(client.node, grant.node_name, grant.node_id);
  auto preference = transport::prefer(same_node, client.transport);
  if (!preference) {
    return Result<Claimed>(fail(preference.error().kind(), "connecting to node " + grant.node_name +
                                                               ": " + preference.error().what()));
  }
  std::vector<std::string> reachable;
  for (const std::string& address : grant.addresses) {
    if (same_node || !is_unix(address)) reachable.push_back(address);
  }
  // Another node by its name, and all the same on this machine: networks lead there too.
  if (!same_node && base::on_one_machine(client.node.id, grant.node_id)) {
    std::copy_if(grant.addresses.begin(), grant.addresses.end(), std::back_inserter(reachable),
                 is_unix);
  }
  return connect_first(loop, std::move(reachable), 0, {})
      .then([grant, client, preference = std::move(*preference), events = std::move(events)](
                Result<Reached> reached) mutable -> kj::Promise<Result<Claimed>> {
        if (!reached) {
          return Result<Claimed>(
              fail(reached.error().kind(), "connecting to the executor manager of node " +
                                               grant.node_name + ": " + reached.error().what()));
        }
        return claim_at(grant, std::move(preference), client, std::move(events), kj::mv(*reached));
      });
}

kj::Promise<Result<std::vector<Claimed>>> claim_all(ControlLoop& loop,
                                                    const std::vector<Grant>& grants,
                                                    const ClientNode& client,
                                                    const std::shared_ptr<LeaseEvents>& events) {
  auto promises = kj::heapArrayBuilder<kj::Promise<Result<Claimed>>>(grants.size());
  for (std::size_t i = 0; i < grants.size(); ++i) {
    promises.add(claim_grant(loop, grants[i], client, events));
  }
  return kj::joinPromises(promises.finish())
      .then([](kj::Array<Result<Claimed>> results) -> Result<std::vector<Claimed>> {
        std::vector<Claimed> claims;
        for (auto& result : results) {
          if (!result) return tl::unexpected<Error>(result.error());
          claims.push_back(std::move(*result));
        }
        return claims;
      });
}

}  // namespace sublet::client
