#include <base/descriptor_limit.hpp>
#include <base/log.hpp>
#include <common/async.hpp>
#include <common/rpc_listener.hpp>
#include <wire/handshake.hpp>
#include <wire/limits.hpp>

#include <capnp/rpc-twoparty.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace sublet::manager {
namespace {

constexpr auto kTellAgain = std::chrono::seconds(10);

/// One at a time, who comes honestly would wait behind all who come again and again.
constexpr unsigned kNewcomersAtATime = 16;

/// A peer that has made no sense is told so, and then left alone for this long: it would only come
/// again.
constexpr kj::Duration kBeforeClosing = 1 * kj::SECONDS;

/// How often a socket's file is looked for.
constexpr kj::Duration kLookForFile = 2 * kj::SECONDS;

/// To others a user, or a host, is one: what it has is shared among its connections.
std::string owner_of(const Caller& caller) {
  if (caller.proved()) return "uid " + std::to_string(caller.uid);
  return caller.host.empty() ? "somebody unproved" : caller.host;
}

struct Connection {
  Connection(std::shared_ptr<Peer> peer, capnp::Capability::Client bootstrap, kj::Timer& timer,
             GuardedStream::Budgets& budgets)
      : stream(std::move(peer), timer, budgets),
        network(stream, capnp::rpc::twoparty::Side::SERVER),
        rpc(capnp::makeRpcServer(network, kj::mv(bootstrap))) {
    rpc.setFlowLimit(wire::kMaxPendingCalls / sizeof(capnp::word));
  }
  GuardedStream stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
};

}  // namespace

std::size_t ServedConnections::places(std::size_t percent) {
  constexpr std::size_t kFewest = 16;
  return std::clamp(base::descriptor_limit() * percent / 100, kFewest, wire::kMaxConnections);
}

RpcListener::RpcListener(kj::LowLevelAsyncIoProvider& io, ListeningSocket socket,
                         Bootstrap bootstrap, std::shared_ptr<ServedConnections> connections)
    : io_(io),
      socket_(std::move(socket)),
      bootstrap_(std::move(bootstrap)),
      connections_(std::move(connections)),
      receiver_(io.wrapListenSocketFd(socket_.fd(), kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK)),
      timer_(io.getTimer()),
      tasks_(*this) {
  tasks_.add(accept_loop());
  const bool has_file = address().kind == wire::Address::Kind::kUnix && !address().is_abstract();
  if (has_file) tasks_.add(until_removed());
}

kj::Promise<void> RpcListener::until_removed() {
  return timer_.afterDelay(kLookForFile).then([this]() -> kj::Promise<void> {
    if (!socket_.file_was_removed()) return until_removed();
    auto socket = ListeningSocket::open(address(), "manager");
    if (!socket) return until_removed();  // its directory's parent may come back
    base::log().warn("{} was removed; listening there again", address().to_string());
    again_ = kj::heap<RpcListener>(io_, std::move(*socket), bootstrap_, connections_);
    return kj::READY_NOW;
  });
}

/// After some newcomers the loop serves others. accept() may throw at once.
kj::Promise<void> RpcListener::accept_loop() {
  const bool pause = ++accepted_ % kNewcomersAtATime == 0;
  auto accept = [this] { return receiver_->accept(); };
  return (pause ? kj::evalLater(kj::mv(accept)) : kj::evalNow(accept))
      .then([this](kj::Own<kj::AsyncIoStream> stream) {
        failing_.clear();
        serve(kj::mv(stream));
      })
      .catch_([this](kj::Exception&& exception) {
        failing_ = text_of(exception);
        // Out of descriptors, for instance: one of a connection is given back, or others are soon.
        const bool made_room = connections_->table.make_room();
        if (const auto now = std::chrono::steady_clock::now(); now >= failure_again_) {
          failure_again_ = now + kTellAgain;
          base::log().error("accepting a connection at {}: {}{}", address().to_string(),
                            text_of(exception),
                            made_room ? "; another one is closed for it" : "; trying again");
        }
        return timer_.afterDelay(made_room ? 1 * kj::MILLISECONDS : 100 * kj::MILLISECONDS);
      })
      .then([this] { return accept_loop(); });
}

Alarm RpcListener::alarm() const {
  KJ_IF_MAYBE (again, again_) {
    return (*again)->alarm();
  }
  Alarm alarm{"listener " + address().to_string(), false, {}, 0, 0};
  int listens = 0;
  socklen_t size = sizeof listens;
  if (::getsockopt(socket_.fd(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) {
    alarm.text = "its socket does not listen any more: start this manager again";
  } else if (socket_.file_was_removed()) {
    alarm.text =
        "its file was removed, and cannot be made again yet: see whether the directory is "
        "there";
  } else if (!failing_.empty()) {
    alarm.text = "connections cannot be accepted: " + failing_;
  }
  alarm.raised = !alarm.text.empty();
  return alarm;
}

void RpcListener::serve(kj::Own<kj::AsyncIoStream> stream) {
  auto peer = std::make_shared<Peer>(kj::mv(stream));
  auto paf = kj::newPromiseAndFulfiller<void>();
  // A std::function can be copied, a fulfiller cannot.
  auto closing = std::make_shared<decltype(paf.fulfiller)>(kj::mv(paf.fulfiller));
  peer->set_place(
      connections_->table.take(owner_of(peer->caller()), [closing] { (*closing)->fulfill(); }),
      connections_);
  tell_limit();
  if (peer->place() == nullptr) return;
  const bool network = address().kind == wire::Address::Kind::kTcp;
  auto served = (network ? identify(peer) : kj::Promise<void>(kj::READY_NOW)).then([this, peer] {
    return converse(peer);
  });
  tasks_.add(served.exclusiveJoin(kj::mv(paf.promise)));
}

/// Until it is proved who connects over a network, and nobody in between hears or changes anything.
kj::Promise<void> RpcListener::identify(const std::shared_ptr<Peer>& peer) {
  auto opened = wire::secure_as_server(peer->take_stream(), connections_->trust);
  return within(timer_, wire::kFirstMessage, kj::mv(opened), "proving who it is")
      .then([this, peer](Result<wire::SecuredStream>&& secured) {
        if (secured) {
          peer->secured(kj::mv(secured->stream), secured->peer);
          return;
        }
        if (secured.error().kind() != ErrorKind::kDisconnected) {
          tell_refusal(*peer, secured.error().what());
        }
        kj::throwFatalException(
            kj::Exception(kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__,
                          kj::str(to_string(peer->caller()), ": ", secured.error().what())));
      });
}

kj::Promise<void> RpcListener::converse(const std::shared_ptr<Peer>& peer) {
  auto bootstrap = bootstrap_(peer);
  auto connection = kj::heap<Connection>(peer, kj::mv(bootstrap), timer_, connections_->budgets);
  auto gone = connection->network.onDisconnect().then([this, peer]() -> kj::Promise<void> {
    if (peer->has_closed()) return kj::READY_NOW;
    return timer_.afterDelay(kBeforeClosing);
  });
  return gone.attach(kj::mv(connection));
}

/// Says at most now and then who was refused.
void RpcListener::tell_refusal(const Peer& peer, const std::string& why) {
  ++refused_;
  const auto now = std::chrono::steady_clock::now();
  if (now < refusal_again_) return;
  base::log().warn("refused a connection of {} to {}: {}{}", peer.caller().host,
                   address().to_string(), why,
                   refused_ == 1 ? "" : " (with it " + std::to_string(refused_) + " more)");
  refused_ = 0;
  refusal_again_ = now + kTellAgain;
}

/// Says at most now and then that there are more connections than places.
void RpcListener::tell_limit() {
  const ConnectionTable::State& state = connections_->table.state();
  const auto now = std::chrono::steady_clock::now();
  if (state.closed + state.refused == told_ || now < tell_again_) return;
  base::log().warn(
      "{} has {} connections, as many as it may have (see `ulimit -n`): since the start {} were "
      "closed for new ones, the last one of {}, and {} were refused",
      address().to_string(), state.connections, state.closed, connections_->table.closed_last(),
      state.refused);
  told_ = state.closed + state.refused;
  tell_again_ = now + kTellAgain;
}

void RpcListener::taskFailed(kj::Exception&& exception) {
  base::log().debug("a connection to {} ended: {}", address().to_string(), text_of(exception));
}

}  // namespace sublet::manager
