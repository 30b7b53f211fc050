#include <base/log.hpp>
#include <base/shared_memory.hpp>
#include <common/peer.hpp>
#include <executor_manager/claim_server.hpp>
#include <executor_manager/executor_manager.hpp>
#include <sublet/version.hpp>
#include <wire/convert.hpp>

#include <utility>

namespace sublet::manager {
namespace {

/// More than there are.
constexpr std::size_t kMaxTransports = 8;

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
    return request;
  }

  ExecutorManager& node_;
  kj::Own<HeldGrant> grant_;
  bool borrowed_;
  std::string local_host_;  ///< The address of this node that the client uses.
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
    const Caller caller = peer_ == nullptr ? this_process() : peer_->caller();
    auto claimed =
        node_.claim(wire::to_bytes(params.getToken()), caller, kj::mv(notices), params.getKeep());
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
          const auto& cpusets = grant->executors().cpusets();
          auto workers = results.initWorkers(static_cast<unsigned>(cpusets.size()));
          for (unsigned i = 0; i < workers.size(); ++i) workers[i].setCpuset(cpusets[i]);
          results.setExpiresUnixMs(to_unix_ms(grant->terms().expires));
          results.setLease(kj::mv(lease));
        });
  }

  kj::Promise<void> version(VersionContext context) override {
    context.getResults().setVersion(SUBLET_VERSION);
    return kj::READY_NOW;
  }

 private:
  ExecutorManager& node_;
  std::shared_ptr<Peer> peer_;  ///< Null for a client in this process.
};

}  // namespace

wire::ExecutorManager::Client make_claim_server(ExecutorManager& node, std::shared_ptr<Peer> peer) {
  return kj::heap<ClaimServer>(node, std::move(peer));
}

}  // namespace sublet::manager
