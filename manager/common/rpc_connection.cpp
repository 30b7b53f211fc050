#include <base/log.hpp>
#include <base/tcp_options.hpp>
#include <base/unix_socket.hpp>
#include <common/async.hpp>
#include <common/host_addresses.hpp>
#include <common/rpc_connection.hpp>
#include <wire/limits.hpp>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>

namespace sublet::manager {
namespace {

capnp::ReaderOptions reader_options() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = wire::kMaxMessageBytes / sizeof(capnp::word);
  return options;
}

/// A peer whose machine vanished without a word is noticed in about this time.
constexpr auto kSilence = std::chrono::seconds(10);

sa_family_t family_of(int fd) {
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) return AF_UNSPEC;
  return name.ss_family;
}

}  // namespace

Peer::Peer(kj::Own<kj::AsyncIoStream> stream) : stream_(kj::mv(stream)) {
  KJ_IF_MAYBE (fd, stream_->getFd()) fd_ = *fd;
  caller_ = find_caller(fd_);
  if (family_of(fd_) != AF_UNIX) base::set_tcp_options(fd_, kSilence);
}

bool Peer::has_closed() const {
  return base::peer_has_closed(fd_);
}

std::string Peer::local_host() const {
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&name), &length) != 0) return {};
  return numeric_host(reinterpret_cast<const sockaddr*>(&name), length);
}

RpcListener::RpcListener(kj::LowLevelAsyncIoProvider& io, ListeningSocket socket,
                         Bootstrap bootstrap)
    : socket_(std::move(socket)),
      bootstrap_(std::move(bootstrap)),
      receiver_(io.wrapListenSocketFd(socket_.fd(), kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK)),
      timer_(io.getTimer()),
      tasks_(*this) {
  tasks_.add(accept_loop());
}

kj::Promise<void> RpcListener::accept_loop() {
  return receiver_->accept()
      .then(
          [this](kj::Own<kj::AsyncIoStream> stream) -> kj::Promise<void> {
            serve(kj::mv(stream));
            return kj::READY_NOW;
          },
          [this](kj::Exception&& exception) -> kj::Promise<void> {
            // Out of file descriptors, for instance: others may be given back soon.
            base::log().error("accepting a connection at {}: {}", address().to_string(),
                              text_of(exception));
            return timer_.afterDelay(100 * kj::MILLISECONDS);
          })
      .then([this] { return accept_loop(); });
}

void RpcListener::serve(kj::Own<kj::AsyncIoStream> stream) {
  struct Connection {
    Connection(std::shared_ptr<Peer> its_peer, capnp::Capability::Client bootstrap)
        : peer(std::move(its_peer)),
          network(peer->stream(), capnp::rpc::twoparty::Side::SERVER, reader_options()),
          rpc(capnp::makeRpcServer(network, kj::mv(bootstrap))) {}
    std::shared_ptr<Peer> peer;
    capnp::TwoPartyVatNetwork network;
    capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  };
  if (connections_ >= wire::kMaxConnections) {
    base::log().warn("{} has {} connections, another one is closed", address().to_string(),
                     connections_);
    return;
  }
  auto peer = std::make_shared<Peer>(kj::mv(stream));
  auto connection = kj::heap<Connection>(peer, bootstrap_(peer));
  // Calls that wait for an answer may hold this much of a peer's data.
  connection->rpc.setFlowLimit(wire::kMaxMessageBytes / sizeof(capnp::word));
  ++connections_;
  auto gone = connection->network.onDisconnect();
  tasks_.add(gone.attach(kj::mv(connection), kj::defer([this] { --connections_; })));
}

void RpcListener::taskFailed(kj::Exception&& exception) {
  base::log().debug("a connection to {} ended: {}", address().to_string(), text_of(exception));
}

RpcConnection::RpcConnection(kj::Own<kj::AsyncIoStream> stream)
    : peer_(kj::mv(stream)),
      network_(peer_.stream(), capnp::rpc::twoparty::Side::CLIENT, reader_options()),
      rpc_(capnp::makeRpcClient(network_)) {}

capnp::Capability::Client RpcConnection::bootstrap() {
  capnp::MallocMessageBuilder message(4);
  auto vat = message.getRoot<capnp::rpc::twoparty::VatId>();
  vat.setSide(capnp::rpc::twoparty::Side::SERVER);
  return rpc_.bootstrap(vat);
}

kj::Promise<kj::Own<RpcConnection>> RpcConnection::connect(kj::Network& network, kj::Timer& timer,
                                                           const wire::Address& address,
                                                           std::chrono::milliseconds limit) {
  auto connected = network.parseAddress(address.to_kj())
                       .then([](kj::Own<kj::NetworkAddress> found) {
                         auto promise = found->connect();
                         return promise.attach(kj::mv(found));
                       })
                       .then([](kj::Own<kj::AsyncIoStream> stream) {
                         return kj::heap<RpcConnection>(kj::mv(stream));
                       });
  return within(timer, limit, kj::mv(connected), "connecting to " + address.to_string());
}

}  // namespace sublet::manager
