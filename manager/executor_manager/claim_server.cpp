#include <base/log.hpp>
#include <base/shared_memory.hpp>
#include <common/messages.hpp>
#include <common/peer.hpp>
#include <executor_manager/claim_server.hpp>
#include <executor_manager/executor_manager.hpp>
#include <sublet/version.hpp>
#include <wire/convert.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace sublet::manager {
namespace {

/// More than there are.
constexpr std::size_t kMaxTransports = 8;
constexpr std::size_t kMaxOwner = 255;

Result<std::vector<std::string>> read_transports(capnp::List<capnp::Text>::Reader from) {
  if (from.size() > kMaxTransports) {
    return fail(ErrorKind::kInvalid, std::to_string(from.size()) +
                                         " transports are asked for; allowed are " +
                                         std::to_string(kMaxTransports));
  }
  std::vector<std::string> transports;
  for (const auto name : from) {
    if (name.size() >= wire::kMaxTransportName) {
      return fail(ErrorKind::kInvalid, "a transport's name has " + std::to_string(name.size()) +
                                           " bytes; allowed are " +
                                           std::to_string(wire::kMaxTransportName - 1));
    }
    transports.push_back(wire::to_string(name));
  }
  return transports;
}

/// Each worker's own cores and GPUs.
void write(capnp::List<wire::WorkerDescription>::Builder to, const WorkerPlaces& places,
           std::uint32_t gpus_per_worker) {
  for (unsigned i = 0; i < to.size(); ++i) {
    to[i].setCpuset(places.cpusets[i]);
    auto gpus = to[i].initGpus(gpus_per_worker);
    for (unsigned j = 0; j < gpus_per_worker; ++j) {
      gpus.set(j, places.gpus[i * gpus_per_worker + j]);
    }
  }
}

milliseconds read_duration(std::uint64_t ms) {
  const milliseconds most = wire::kMaxLeaseDuration;
  return milliseconds(
      static_cast<std::int64_t>(std::min(ms, static_cast<std::uint64_t>(most.count()))));
}

/// All of it is checked against the limits of a request to a resource manager.
Result<DirectRequest> read_direct_request(wire::ExecutorManager::LeaseParams::Reader params) {
  auto request = wire::read(params.getRequest());
  if (!request) return tl::unexpected<Error>(std::move(request.error()));
  DirectRequest asked;
  asked.lease = LeaseId{params.getLeaseId()};
  asked.request = std::move(*request);
  asked.owner = wire::cut_text(wire::to_string(params.getRequest().getOwner()), kMaxOwner);
  asked.slurm_job = params.getRequest().getSlurmJob();
  if (!wire::is_direct(params.getLeaseId()) ||
      params.getShares().size() != asked.request.holders.size()) {
    return fail(ErrorKind::kInvalid, "an executor manager's own lease has a number from " +
                                         std::to_string(wire::kDirectLeases) +
                                         " on, and a holder for each share");
  }
  for (const auto share : params.getShares()) {
    if (share.getPart() >= wire::kMaxParts || share.getWorkers() == 0 ||
        share.getWorkers() > wire::kMaxWorkersPerExecutor) {
      return fail(ErrorKind::kInvalid,
                  "a share of a lease has 1 to " + std::to_string(wire::kMaxWorkersPerExecutor) +
                      " workers, and a part below " + std::to_string(wire::kMaxParts));
    }
    asked.shares.push_back({share.getPart(), share.getWorkers(), share.getMemoryBytes()});
  }
  return asked;
}

/// Holds one claimed grant for a client: the grant ends when the client drops it or dies, or goes
/// back to its keeper.
class ClaimedLeaseServer final : public wire::ClaimedLease::Server {
 public:
  ClaimedLeaseServer(ExecutorManager& node, kj::Own<HeldGrant> grant, bool borrowed,
                     const std::shared_ptr<Peer>& peer)
      : node_(node),
        grant_(kj::mv(grant)),
        borrowed_(borrowed),
        local_host_(peer == nullptr ? "" : peer->local_host()),
        place_(hold_place(peer)) {}
  ~ClaimedLeaseServer() noexcept(false) {
    borrowed_ ? grant_->give_back() : grant_->end("its client released it or ended", false);
  }
  KJ_DISALLOW_COPY(ClaimedLeaseServer);

  kj::Promise<void> open(OpenContext context) override {
    const auto params = context.getParams();
    auto request = read_open(params);
    if (!request) {
      wire::write(context.getResults().initFailure(), request.error());
      return kj::READY_NOW;
    }
    if (!request->library) {
      context.getResults().setMissing(true);
      return kj::READY_NOW;
    }
    context.releaseParams();
    return grant_->executors().open(*request).then(
        [context](ExecutorSupervisor::Opened opened) mutable {
          if (opened.result) return;
          wire::write(context.getResults().initFailure(), opened.result.error());
          context.getResults().setEndedGeneration(opened.ended_generation);
        });
  }

  kj::Promise<void> install(InstallContext context) override {
    // Read where it lies, in the message, which lives as long as the promise.
    return node_.libraries()
        .install(wire::to_bytes(context.getParams().getContent()),
                 context.getParams().getProgram() ? LibraryCache::Content::kProgram
                                                  : LibraryCache::Content::kLibrary)
        .then([context](Result<Sha256> sha256) mutable {
          context.releaseParams();
          if (sha256) {
            context.getResults().setSha256(wire::to_data(std::as_bytes(std::span(*sha256))));
          } else {
            wire::write(context.getResults().initFailure(), sha256.error());
          }
        });
  }

  kj::Promise<void> become(BecomeContext context) override {
    const auto params = context.getParams();
    auto transports = read_transports(params.getTransports());
    auto application = read_application(params);
    if (!transports || !application) {
      wire::write(context.getResults().initFailure(),
                  transports ? application.error() : transports.error());
      return kj::READY_NOW;
    }
    if (!application->program) {
      context.getResults().setMissing(true);
      return kj::READY_NOW;
    }
    if (auto became = grant_->executors().become(std::move(*application)); !became) {
      wire::write(context.getResults().initFailure(), became.error());
      return kj::READY_NOW;
    }
    context.releaseParams();
    return grant_->executors()
        .open_transports(std::move(*transports), local_host_)
        .then([this, context]() mutable {
          grant_->executors().write_endpoint(context.getResults().initEndpoint());
        });
  }

  kj::Promise<void> extend(ExtendContext context) override {
    const auto expires =
        node_.direct().extend(*grant_, read_duration(context.getParams().getDurationMs()));
    if (expires) {
      context.getResults().setExpiresUnixMs(to_unix_ms(*expires));
    } else {
      wire::write(context.getResults().initFailure(), expires.error());
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> usage(UsageContext context) override {
    wire::write(context.getResults().initUsage(), grant_->usage());
    return kj::READY_NOW;
  }

  kj::Promise<void> replacement(ReplacementContext context) override {
    const std::uint32_t generation = context.getParams().getGeneration();
    // A call under way keeps this object, and so the lease: it must not outlive its client.
    context.allowCancellation();
    return grant_->executors()
        .replacement(generation)
        .then([this, context](Result<void> result) mutable {
          if (result) {
            grant_->executors().write_endpoint(context.getResults().initEndpoint());
          } else {
            wire::write(context.getResults().initFailure(), result.error());
          }
        });
  }

  kj::Promise<void> fate(FateContext context) override {
    context.allowCancellation();  // as in replacement()
    return grant_->executors()
        .fate(context.getParams().getGeneration())
        .then([context](const ExecutorFate& fate) mutable {
          auto results = context.getResults();
          results.setText(wire::cut_text(fate.text, wire::kMaxText));
          auto numbers = results.initLastStarted(static_cast<unsigned>(fate.last_started.size()));
          for (unsigned i = 0; i < numbers.size(); ++i) numbers.set(i, fate.last_started[i]);
          results.setKind(static_cast<std::uint8_t>(fate.kind));
        });
  }

 private:
  /// Without a program when the cache does not have it.
  Result<Application> read_application(wire::ClaimedLease::BecomeParams::Reader params) {
    const auto text = params.getSurroundings();
    const auto sha256 = params.getSha256();
    if (sha256.size() != wire::kSha256Bytes || text.size() > wire::kMaxSurroundings) {
      return fail(ErrorKind::kInvalid, "an application is described by a SHA-256 of 32 bytes and " +
                                           std::to_string(wire::kMaxSurroundings) +
                                           " bytes of text at most");
    }
    Application application;
    wire::set_text(application.order.name, wire::to_string(params.getName()));
    std::copy(sha256.begin(), sha256.end(), application.order.sha256.begin());
    application.program = node_.libraries().find(application.order.sha256);
    application.image = node_.libraries().image_of(application.order.sha256);
    auto surroundings = base::SharedMemory::sealed_copy(
        "sublet-surroundings", std::as_bytes(std::span(text.begin(), text.size())));
    if (!surroundings) return tl::unexpected<Error>(surroundings.error());
    application.surroundings = std::make_shared<base::Fd>(std::move(*surroundings));
    return application;
  }

  Result<ExecutorSupervisor::FunctionRequest> read_open(
      wire::ClaimedLease::OpenParams::Reader params) {
    if (params.getIndex() >= wire::kMaxFunctions) {
      return fail(ErrorKind::kInvalid, "function number " + std::to_string(params.getIndex()) +
                                           " is too large; there are " +
                                           std::to_string(wire::kMaxFunctions));
    }
    if (params.getName().size() == 0 || params.getName().size() > wire::kMaxFunctionName) {
      return fail(ErrorKind::kInvalid, "a function's name has 1 to " +
                                           std::to_string(wire::kMaxFunctionName) + " bytes");
    }
    if (params.getSha256().size() != wire::kSha256Bytes) {
      return fail(ErrorKind::kInvalid,
                  "a SHA-256 has 32 bytes, not " + std::to_string(params.getSha256().size()));
    }
    ExecutorSupervisor::FunctionRequest request;
    request.open.index = params.getIndex();
    request.open.timeout_ms = params.getTimeoutMs();
    wire::set_text(request.open.name, wire::to_string(params.getName()));
    wire::set_text(request.open.library, wire::to_string(params.getLibraryName()));
    std::copy(params.getSha256().begin(), params.getSha256().end(), request.open.sha256.begin());
    // An application's own functions: its program runs, whether the cache still has it or not.
    wire::Become own{};
    own.sha256 = request.open.sha256;
    request.library = grant_->executors().program(own);
    if (!request.library) request.library = node_.libraries().find(request.open.sha256);
    request.image = node_.libraries().image_of(request.open.sha256);
    return request;
  }

  ExecutorManager& node_;
  kj::Own<HeldGrant> grant_;
  bool borrowed_;
  std::string local_host_;  ///< The address of this node that the client uses.
  std::shared_ptr<void> place_;
};

/// Holding it keeps the right to grants that this node has given by itself and nobody has claimed.
class HandleServer final : public wire::LeaseHandle::Server {
 public:
  using Key = std::pair<LeaseId, std::uint32_t>;

  HandleServer(ExecutorManager& node, std::vector<Key> grants, const std::shared_ptr<Peer>& peer)
      : node_(node), grants_(std::move(grants)), place_(hold_place(peer)) {}
  ~HandleServer() noexcept(false) {
    for (const auto& [lease, part] : grants_) {
      node_.end_unclaimed(lease, part, "the client gave the lease back");
    }
  }
  KJ_DISALLOW_COPY(HandleServer);

 private:
  ExecutorManager& node_;
  std::vector<Key> grants_;
  std::shared_ptr<void> place_;
};

class ClaimServer final : public wire::ExecutorManager::Server {
 public:
  ClaimServer(ExecutorManager& node, std::shared_ptr<Peer> peer)
      : node_(node), peer_(std::move(peer)) {}

  kj::Promise<void> claim(ClaimContext context) override {
    // All of it is read before anything is taken: what is malformed throws here.
    const auto params = context.getParams();
    auto transports = read_transports(params.getTransports());
    if (!transports) {
      wire::write(context.getResults().initFailure(), transports.error());
      return kj::READY_NOW;
    }
    auto notices = params.getNotices();
    const Caller caller = this->caller();
    const ClaimAttempt attempt{wire::to_bytes(params.getGrant()), wire::to_bytes(params.getProof()),
                               peer_ == nullptr ? wire::ChannelBinding{} : peer_->binding(),
                               caller};
    auto claimed = node_.claim(attempt, kj::mv(notices), params.getKeep());
    if (!claimed) {
      wire::write(context.getResults().initFailure(), claimed.error());
      return kj::READY_NOW;
    }
    auto& grant = claimed->grant;
    base::log().info("{} is {} by {}", name_of(grant->terms().key),
                     claimed->borrowed ? "borrowed" : "claimed", to_string(caller));
    // From here on the grant ends with this object, also when the client dies while we wait.
    auto lease = kj::heap<ClaimedLeaseServer>(node_, kj::addRef(*grant), claimed->borrowed, peer_);
    return grant->executors()
        .open_transports(std::move(*transports), peer_ == nullptr ? "" : peer_->local_host())
        .then([context, grant = kj::mv(grant), lease = kj::mv(lease)]() mutable {
          auto results = context.getResults();
          grant->executors().write_endpoint(results.initEndpoint());
          write(results.initWorkers(grant->terms().workers), grant->executors().places(),
                grant->terms().gpus_per_worker);
          results.setExpiresUnixMs(to_unix_ms(grant->terms().expires));
          results.setToken(wire::to_data(std::as_bytes(std::span(grant->terms().token))));
          results.setLease(kj::mv(lease));
        });
  }

  kj::Promise<void> version(VersionContext context) override {
    context.getResults().setVersion(SUBLET_VERSION);
    return kj::READY_NOW;
  }

  kj::Promise<void> look(LookContext context) override {
    const auto node = node_.direct().look(caller());
    if (node) {
      wire::write(context.getResults().initNode(), *node);
    } else {
      wire::write(context.getResults().initFailure(), node.error());
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> lease(LeaseContext context) override {
    const auto params = context.getParams();
    auto asked = read_direct_request(params);
    auto granted = asked ? node_.direct().lease(*asked, caller())
                         : Result<std::vector<SealedTerms>>(tl::unexpected<Error>(asked.error()));
    auto results = context.getResults();
    if (!granted) {
      wire::write(results.initFailure(), granted.error());
      return kj::READY_NOW;
    }
    std::vector<HandleServer::Key> keys;
    auto list = results.initGrants(static_cast<unsigned>(granted->size()));
    for (unsigned i = 0; i < list.size(); ++i) {
      const SealedTerms& grant = (*granted)[i];
      wire::write(list[i], to_grant(grant.terms, node_.offer()));
      list[i].setSealed(wire::to_data(grant.sealed));
      keys.emplace_back(grant.terms.key.lease, grant.terms.key.part);
    }
    results.setHandle(kj::heap<HandleServer>(node_, std::move(keys), peer_));
    return kj::READY_NOW;
  }

 private:
  [[nodiscard]] Caller caller() const {
    return peer_ == nullptr ? this_process() : peer_->caller();
  }

  ExecutorManager& node_;
  std::shared_ptr<Peer> peer_;  ///< Null for a client in this process.
};

}  // namespace

wire::ExecutorManager::Client make_claim_server(ExecutorManager& node, std::shared_ptr<Peer> peer) {
  return kj::heap<ClaimServer>(node, std::move(peer));
}

}  // namespace sublet::manager
