#include <client/node_remote.hpp>
#include <wire/address.hpp>
#include <wire/convert.hpp>
#include <wire/limits.hpp>

#include <algorithm>

namespace sublet::client {

void LeaseEvents::set_on_ending(std::function<void(const EndingNotice&)> callback) {
  const std::lock_guard lock(mutex_);
  on_ending_ = std::move(callback);
}

void LeaseEvents::set_on_lost(std::function<void(const std::string&)> callback) {
  const std::lock_guard lock(mutex_);
  on_lost_ = std::move(callback);
}

void LeaseEvents::ending(const EndingNotice& notice) {
  const std::lock_guard lock(mutex_);
  if (on_ending_) on_ending_(notice);
}

void LeaseEvents::lost(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (on_lost_) on_lost_(reason);
}

bool NodeState::mark(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (lost_.load(std::memory_order_relaxed)) return false;
  reason_ = reason;
  lost_.store(true, std::memory_order_release);
  return true;
}

void NodeState::lose(const std::string& reason, bool node_gone) {
  const bool first = mark(reason);
  if (node_gone) {
    node_gone_.store(true, std::memory_order_release);
    events_->call_attention();
  }
  if (first) events_->lost(reason);
}

void NodeState::ending(const EndingNotice& notice) {
  if (notice.leaving) {
    leaving_.store(true, std::memory_order_release);
    events_->call_attention();
  }
  events_->ending(notice);
}

void NodeState::release() {
  mark("the lease was released");
}

std::string NodeState::reason() const {
  const std::lock_guard lock(mutex_);
  return reason_;
}

namespace {

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

/// An executor manager that answered, and at which address.
struct Reached {
  kj::Own<Connection> connection;
  std::string host;
};

kj::Promise<Result<Claimed>> claim_at(std::size_t index, const Grant& grant,
                                      transport::Preference preference,
                                      std::shared_ptr<LeaseEvents> events, Reached reached) {
  auto state = std::make_shared<NodeState>(std::move(events));
  auto request = reached.connection->bootstrap().castAs<wire::ExecutorManager>().claimRequest();
  request.setToken(wire::to_data(grant.token));
  request.setNotices(kj::heap<NoticeServer>(state));
  std::vector<transport::Kind> networks;
  std::copy_if(preference.kinds.begin(), preference.kinds.end(), std::back_inserter(networks),
               transport::reaches_other_nodes);
  auto names = request.initTransports(static_cast<unsigned>(networks.size()));
  for (unsigned i = 0; i < names.size(); ++i) names.set(i, to_string(networks[i]));
  return request.send().then(
      [index, grant, state, preference = std::move(preference), reached = kj::mv(reached)](
          capnp::Response<wire::ExecutorManager::ClaimResults>&& results) mutable
      -> Result<Claimed> {
        if (auto failure = wire::failure_of(results)) return tl::unexpected<Error>(*failure);
        if (results.getWorkers().size() != grant.cores) {
          return fail(ErrorKind::kInternal, "the executor manager of " + grant.node_name + " has " +
                                                std::to_string(results.getWorkers().size()) +
                                                " workers for a grant of " +
                                                std::to_string(grant.cores));
        }
        Claimed claimed;
        claimed.grant = index;
        claimed.state = state;
        claimed.host = reached.host;
        claimed.preference = std::move(preference);
        claimed.endpoint = read_endpoint(results.getEndpoint(), grant, reached.host);
        for (const auto worker : results.getWorkers()) {
          claimed.cpusets.push_back(wire::to_string(worker.getCpuset()));
        }
        auto watch = reached.connection->gone()
                         .then([state, name = grant.node_name] {
                           state->lose("the executor manager of node " + name + " went away", true);
                         })
                         .eagerlyEvaluate([state](kj::Exception&& exception) {
                           state->lose(exception.getDescription().cStr(), true);
                         });
        claimed.remote.reset(
            new NodeLink::Remote{kj::mv(reached.connection), results.getLease(), kj::mv(watch)});
        return claimed;
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
  return loop.connect(addresses[at])
      .then([&loop, addresses, at, failures](
                Result<kj::Own<Connection>> connected) mutable -> kj::Promise<Result<Reached>> {
        if (connected) {
          return Result<Reached>(Reached{kj::mv(*connected), host_of(addresses[at])});
        }
        if (!failures.empty()) failures += "; ";
        failures += connected.error().what();
        return connect_first(loop, std::move(addresses), at + 1, std::move(failures));
      });
}

}  // namespace

kj::Promise<Result<Claimed>> claim_grant(ControlLoop& loop, std::size_t index, const Grant& grant,
                                         const ClientNode& client,
                                         std::shared_ptr<LeaseEvents> events) {
  const bool same_node = grant.node_id == client.node_id;
  auto preference = transport::prefer(same_node, client.transport);
  if (!preference) {
    return Result<Claimed>(fail(preference.error().kind(), "connecting to node " + grant.node_name +
                                                               ": " + preference.error().what()));
  }
  std::vector<std::string> reachable;
  for (const std::string& address : grant.addresses) {
    if (address.starts_with("unix:") && !same_node) continue;
    reachable.push_back(address);
  }
  return connect_first(loop, std::move(reachable), 0, {})
      .then([index, grant, preference = std::move(*preference), events = std::move(events)](
                Result<Reached> reached) mutable -> kj::Promise<Result<Claimed>> {
        if (!reached) {
          return Result<Claimed>(
              fail(reached.error().kind(), "connecting to the executor manager of node " +
                                               grant.node_name + ": " + reached.error().what()));
        }
        return claim_at(index, grant, std::move(preference), std::move(events), kj::mv(*reached));
      });
}

NodeLink::NodeLink(std::shared_ptr<ControlThread> thread, Grant grant, Claimed claimed)
    : thread_(std::move(thread)),
      state_(std::move(claimed.state)),
      grant_(std::move(grant)),
      remote_(claimed.remote.release()),
      host_(std::move(claimed.host)),
      preference_(std::move(claimed.preference)),
      endpoint_(std::move(claimed.endpoint)),
      cpusets_(std::move(claimed.cpusets)) {}

NodeLink::~NodeLink() {
  release();
}

void NodeLink::release() noexcept {
  if (remote_ == nullptr) return;
  state_->release();
  // Dropping the capability is what ends the lease; it has to happen on the loop.
  (void)thread_->run<bool>("releasing a lease", [this](ControlLoop&) -> kj::Promise<Result<bool>> {
    delete remote_;
    return Result<bool>(true);
  });
  remote_ = nullptr;
}

namespace {

tl::unexpected<Error> released() {
  return fail(ErrorKind::kInvalid, "the lease was released");
}

}  // namespace

Result<bool> NodeLink::open(const FunctionRequest& function) {
  if (remote_ == nullptr) return released();
  const auto limit = thread_->timeout() +
                     std::chrono::duration_cast<std::chrono::milliseconds>(wire::kLibraryLoad);
  return thread_->run<bool>(
      "opening function '" + function.name + "' on node " + grant_.node_name, limit,
      [&](ControlLoop&) -> kj::Promise<Result<bool>> {
        auto request = remote_->lease.openRequest();
        request.setIndex(function.index);
        request.setSha256(wire::to_data(std::as_bytes(std::span(function.sha256))));
        request.setLibraryName(function.library);
        request.setName(function.name);
        request.setTimeoutMs(static_cast<std::uint64_t>(function.timeout.count()));
        return request.send().then(
            [](capnp::Response<wire::ClaimedLease::OpenResults>&& results) -> Result<bool> {
              if (auto failure = wire::failure_of(results)) return tl::unexpected<Error>(*failure);
              return !results.getMissing();
            });
      });
}

Result<void> NodeLink::install(std::span<const std::byte> content,
                               const std::array<std::uint8_t, 32>& sha256) {
  if (remote_ == nullptr) return released();
  auto sent = thread_->run<bool>(
      "sending a library of " + std::to_string(content.size()) + " bytes to node " +
          grant_.node_name,
      thread_->timeout() +
          std::chrono::duration_cast<std::chrono::milliseconds>(wire::kLibraryLoad),
      [&](ControlLoop&) -> kj::Promise<Result<bool>> {
        auto request = remote_->lease.installRequest(
            capnp::MessageSize{content.size() / sizeof(capnp::word) + 16, 1});
        request.setContent(wire::to_data(content));
        return request.send().then(
            [&](capnp::Response<wire::ClaimedLease::InstallResults>&& results) -> Result<bool> {
              if (auto failure = wire::failure_of(results)) return tl::unexpected<Error>(*failure);
              const auto theirs = wire::to_bytes(results.getSha256());
              const auto ours = std::as_bytes(std::span(sha256));
              if (!std::equal(theirs.begin(), theirs.end(), ours.begin(), ours.end())) {
                return fail(ErrorKind::kInternal, "the library arrived altered");
              }
              return true;
            });
      });
  if (!sent) return tl::unexpected<Error>(sent.error());
  return {};
}

Result<Usage> NodeLink::usage() {
  if (remote_ == nullptr) return released();
  return thread_->run<Usage>(
      "asking node " + grant_.node_name + " for the lease's usage",
      [&](ControlLoop&) -> kj::Promise<Result<Usage>> {
        return remote_->lease.usageRequest().send().then(
            [](capnp::Response<wire::ClaimedLease::UsageResults>&& results) -> Result<Usage> {
              return wire::read(results.getUsage());
            });
      });
}

std::string NodeLink::fate(std::uint32_t generation) {
  if (state_->lost()) return state_->reason();
  if (remote_ == nullptr) return "the lease was released";
  constexpr auto kPatience = std::chrono::milliseconds(1000);
  auto text = thread_->run<std::string>(
      "asking how an executor ended", kPatience,
      [&](ControlLoop&) -> kj::Promise<Result<std::string>> {
        auto request = remote_->lease.fateRequest();
        request.setGeneration(generation);
        return request.send().then(
            [](capnp::Response<wire::ClaimedLease::FateResults>&& results) -> Result<std::string> {
              return wire::to_string(results.getText());
            });
      });
  if (text) return *text;
  if (state_->lost()) return state_->reason();
  return "the connection to its executor broke";
}

Result<void> NodeLink::await_replacement(std::uint32_t generation) {
  if (state_->lost()) return fail(ErrorKind::kDisconnected, state_->reason());
  if (remote_ == nullptr) return released();
  if (endpoint_.generation > generation) return {};
  auto endpoint = thread_->run<transport::Endpoint>(
      "waiting for a new executor on node " + grant_.node_name,
      [&](ControlLoop&) -> kj::Promise<Result<transport::Endpoint>> {
        auto request = remote_->lease.replacementRequest();
        request.setGeneration(generation);
        return request.send().then(
            [this](capnp::Response<wire::ClaimedLease::ReplacementResults>&& results)
                -> Result<transport::Endpoint> {
              if (auto failure = wire::failure_of(results)) return tl::unexpected<Error>(*failure);
              return read_endpoint(results.getEndpoint(), grant_, host_);
            });
      });
  if (!endpoint) {
    if (state_->lost()) return fail(ErrorKind::kDisconnected, state_->reason());
    return tl::unexpected<Error>(endpoint.error());
  }
  endpoint_ = *endpoint;
  return {};
}

}  // namespace sublet::client
