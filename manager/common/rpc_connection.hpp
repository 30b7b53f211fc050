#pragma once

// Two-party connections, in and out, with the limits of wire/limits.hpp on each of them.

#include <common/auth/caller.hpp>
#include <common/listening_socket.hpp>
#include <wire/address.hpp>

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>

#include <functional>
#include <memory>
#include <string>

namespace sublet::manager {

/// The other end of a connection, as what it asks for needs to know it.
class Peer {
 public:
  explicit Peer(kj::Own<kj::AsyncIoStream> stream);

  [[nodiscard]] const Caller& caller() const { return caller_; }
  /// True when the other end has closed or died.
  [[nodiscard]] bool has_closed() const;
  [[nodiscard]] kj::AsyncIoStream& stream() { return *stream_; }
  /// This end's address as the other end can reach it; empty when it is no TCP connection.
  [[nodiscard]] std::string local_host() const;

 private:
  kj::Own<kj::AsyncIoStream> stream_;
  int fd_ = -1;
  Caller caller_;
};

/// Serves every connection to a listening socket with what `bootstrap` makes for it.
///
/// Owner: main; dropping it drops the connections. The event loop's thread only.
class RpcListener final : private kj::TaskSet::ErrorHandler {
 public:
  /// A null peer stands for the same process.
  using Bootstrap = std::function<capnp::Capability::Client(std::shared_ptr<Peer>)>;

  RpcListener(kj::LowLevelAsyncIoProvider& io, ListeningSocket socket, Bootstrap bootstrap);
  KJ_DISALLOW_COPY(RpcListener);

  [[nodiscard]] const wire::Address& address() const { return socket_.address(); }

 private:
  kj::Promise<void> accept_loop();
  void serve(kj::Own<kj::AsyncIoStream> stream);
  void taskFailed(kj::Exception&& exception) override;

  ListeningSocket socket_;
  Bootstrap bootstrap_;
  kj::Own<kj::ConnectionReceiver> receiver_;
  kj::Timer& timer_;
  std::size_t connections_ = 0;
  kj::TaskSet tasks_;
};

/// A connection to a manager. Dropping it drops all capabilities that came over it.
class RpcConnection {
 public:
  /// Throws (by the promise) when nobody answers within `limit`.
  static kj::Promise<kj::Own<RpcConnection>> connect(kj::Network& network, kj::Timer& timer,
                                                     const wire::Address& address,
                                                     std::chrono::milliseconds limit);
  explicit RpcConnection(kj::Own<kj::AsyncIoStream> stream);

  [[nodiscard]] capnp::Capability::Client bootstrap();
  kj::Promise<void> on_disconnect() { return network_.onDisconnect(); }
  [[nodiscard]] const Peer& peer() const { return peer_; }

 private:
  Peer peer_;
  capnp::TwoPartyVatNetwork network_;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc_;
};

}  // namespace sublet::manager
