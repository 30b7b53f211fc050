#include <client/control_plane.hpp>
#include <client/node_remote.hpp>
#include <wire/convert.hpp>

namespace sublet::client {

struct ControlPlane::Manager {
  kj::Own<Connection> connection;
  wire::ResourceManager::Client remote;
  /// Of leases asked for by request(): other processes claim their grants. Dropping a handle ends
  /// what is unclaimed; claimed grants do not need it.
  kj::Vector<wire::LeaseHandle::Client> handles;
};

namespace {

struct Granted {
  std::vector<Grant> grants;
  wire::LeaseHandle::Client handle = nullptr;
};

kj::Promise<Result<Granted>> ask(wire::ResourceManager::Client manager, const LeaseRequest& wanted,
                                 const base::NodeIdentity& node) {
  auto request = manager.leaseRequest();
  wire::write(request.initRequest(), wanted, node.id, base::user_at_node(node));
  return request.send().then(
      [](capnp::Response<wire::ResourceManager::LeaseResults>&& results) -> Result<Granted> {
        if (auto failure = wire::failure_of(results)) return tl::unexpected<Error>(*failure);
        Granted granted;
        granted.handle = results.getHandle();
        for (const auto grant : results.getGrants()) {
          auto read = wire::read(grant);
          if (!read) return tl::unexpected<Error>(read.error());
          granted.grants.push_back(std::move(*read));
        }
        return granted;
      });
}

using Claims = std::vector<Claimed>;

/// Claims all grants side by side; one failure gives all of them back.
kj::Promise<Result<Claims>> claim_all(ControlLoop& loop, const std::vector<Grant>& grants,
                                      const ClientNode& client,
                                      const std::shared_ptr<LeaseEvents>& events) {
  auto promises = kj::heapArrayBuilder<kj::Promise<Result<Claimed>>>(grants.size());
  for (std::size_t i = 0; i < grants.size(); ++i) {
    promises.add(claim_grant(loop, i, grants[i], client, events));
  }
  return kj::joinPromises(promises.finish())
      .then([](kj::Array<Result<Claimed>> results) -> Result<Claims> {
        Claims claims;
        for (auto& result : results) {
          if (!result) return tl::unexpected<Error>(result.error());
          claims.push_back(std::move(*result));
        }
        return claims;
      });
}

std::vector<std::unique_ptr<NodeLink>> make_links(const std::shared_ptr<ControlThread>& thread,
                                                  const std::vector<Grant>& grants, Claims claims) {
  std::vector<std::unique_ptr<NodeLink>> links;
  for (Claimed& claim : claims) {
    Grant grant = grants[claim.grant];
    links.push_back(std::make_unique<NodeLink>(thread, std::move(grant), std::move(claim)));
  }
  return links;
}

}  // namespace

ControlPlane::ControlPlane(base::NodeIdentity node, std::string transport, const Timeouts& timeouts)
    : node_(std::move(node)),
      transport_(std::move(transport)),
      thread_(std::make_shared<ControlThread>(timeouts)) {}

const Timeouts& ControlPlane::timeouts() const noexcept {
  return thread_->timeouts();
}

ControlPlane::~ControlPlane() {
  if (manager_ == nullptr) return;
  (void)thread_->run<bool>("closing a session", [this](ControlLoop&) -> kj::Promise<Result<bool>> {
    delete manager_;
    return Result<bool>(true);
  });
}

Result<ControlPlane::Manager*> ControlPlane::manager() const {
  if (manager_ != nullptr) return manager_;
  return fail(ErrorKind::kUnsupported, "this session has no resource manager: it can only claim");
}

Result<void> ControlPlane::connect_manager(const std::string& address) {
  auto connected = thread_->run<Manager*>(
      "asking what listens at " + address, [&](ControlLoop& loop) -> kj::Promise<Result<Manager*>> {
        return loop.connect(address).then(
            [](Result<kj::Own<Connection>> connection) -> kj::Promise<Result<Manager*>> {
              if (!connection) return Result<Manager*>(tl::unexpected<Error>(connection.error()));
              auto remote = (*connection)->bootstrap().castAs<wire::ResourceManager>();
              auto asked = remote.versionRequest().send();
              return asked.then(
                  [remote, connection = kj::mv(*connection)](
                      capnp::Response<wire::ResourceManager::VersionResults>&&) mutable
                  -> Result<Manager*> {
                    return new Manager{kj::mv(connection), remote, {}};
                  });
            });
      });
  if (!connected) return tl::unexpected<Error>(connected.error());
  manager_ = *connected;
  address_ = address;
  return {};
}

Result<std::vector<Grant>> ControlPlane::request(const LeaseRequest& wanted) {
  auto manager_here = manager();
  if (!manager_here) return tl::unexpected<Error>(manager_here.error());
  return thread_->run<std::vector<Grant>>(
      "asking the resource manager at " + address_ + " for a lease",
      [&](ControlLoop&) -> kj::Promise<Result<std::vector<Grant>>> {
        return ask(manager_->remote, wanted, node_)
            .then([this](Result<Granted> granted) -> Result<std::vector<Grant>> {
              if (!granted) return tl::unexpected<Error>(granted.error());
              manager_->handles.add(kj::mv(granted->handle));
              return std::move(granted->grants);
            });
      });
}

Result<std::vector<std::unique_ptr<NodeLink>>> ControlPlane::claim(
    std::vector<Grant> grants, std::shared_ptr<LeaseEvents> events) {
  auto claims = thread_->run<Claims>(
      "claiming a lease", [&](ControlLoop& loop) -> kj::Promise<Result<Claims>> {
        return claim_all(loop, grants, {node_.id, transport_}, events);
      });
  if (!claims) return tl::unexpected<Error>(claims.error());
  return make_links(thread_, grants, std::move(*claims));
}

Result<std::vector<std::unique_ptr<NodeLink>>> ControlPlane::lease(
    const LeaseRequest& wanted, std::shared_ptr<LeaseEvents> events) {
  auto manager_here = manager();
  if (!manager_here) return tl::unexpected<Error>(manager_here.error());
  std::vector<Grant> grants;
  auto claims = thread_->run<Claims>(
      "asking the resource manager at " + address_ + " for a lease",
      [&](ControlLoop& loop) -> kj::Promise<Result<Claims>> {
        return ask(manager_->remote, wanted, node_)
            .then([&](Result<Granted> granted) -> kj::Promise<Result<Claims>> {
              if (!granted) return Result<Claims>(tl::unexpected<Error>(granted.error()));
              grants = std::move(granted->grants);
              auto claimed = claim_all(loop, grants, {node_.id, transport_}, events);
              return claimed.attach(kj::mv(granted->handle));
            });
      });
  if (!claims) return tl::unexpected<Error>(claims.error());
  return make_links(thread_, grants, std::move(*claims));
}

Result<std::int64_t> ControlPlane::extend(const Grant& grant, std::chrono::seconds duration) {
  auto manager_here = manager();
  if (!manager_here) return tl::unexpected<Error>(manager_here.error());
  return thread_->run<std::int64_t>(
      "asking the resource manager at " + address_ + " for more time",
      [&](ControlLoop&) -> kj::Promise<Result<std::int64_t>> {
        auto request = manager_->remote.extendRequest();
        request.setLeaseId(grant.lease_id);
        request.setToken(wire::to_data(grant.token));
        request.setDurationMs(
            static_cast<std::uint64_t>(std::chrono::milliseconds(duration).count()));
        return request.send().then(
            [](capnp::Response<wire::ResourceManager::ExtendResults>&& results)
                -> Result<std::int64_t> {
              if (auto failure = wire::failure_of(results)) return tl::unexpected<Error>(*failure);
              return results.getExpiresUnixMs();
            });
      });
}

Result<std::vector<NodeInfo>> ControlPlane::nodes() {
  auto manager_here = manager();
  if (!manager_here) return tl::unexpected<Error>(manager_here.error());
  return thread_->run<std::vector<NodeInfo>>(
      "asking the resource manager at " + address_ + " for its nodes",
      [&](ControlLoop&) -> kj::Promise<Result<std::vector<NodeInfo>>> {
        return manager_->remote.nodesRequest().send().then(
            [](capnp::Response<wire::ResourceManager::NodesResults>&& results)
                -> Result<std::vector<NodeInfo>> {
              std::vector<NodeInfo> nodes;
              for (const auto node : results.getNodes()) nodes.push_back(wire::read(node));
              return nodes;
            });
      });
}

Result<std::vector<LeaseInfo>> ControlPlane::leases() {
  auto manager_here = manager();
  if (!manager_here) return tl::unexpected<Error>(manager_here.error());
  return thread_->run<std::vector<LeaseInfo>>(
      "asking the resource manager at " + address_ + " for its leases",
      [&](ControlLoop&) -> kj::Promise<Result<std::vector<LeaseInfo>>> {
        return manager_->remote.leasesRequest().send().then(
            [](capnp::Response<wire::ResourceManager::LeasesResults>&& results)
                -> Result<std::vector<LeaseInfo>> {
              std::vector<LeaseInfo> leases;
              for (const auto lease : results.getLeases()) leases.push_back(wire::read(lease));
              return leases;
            });
      });
}

}  // namespace sublet::client
