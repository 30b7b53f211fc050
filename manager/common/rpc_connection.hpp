#pragma once

#include <common/peer.hpp>
#include <wire/address.hpp>
#include <wire/trust.hpp>

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>

#include <chrono>
#include <memory>

namespace sublet::manager {

/// A connection to a manager. Dropping it drops all capabilities that came over it.
class RpcConnection {
 public:
  /// Throws (by the promise) when nobody answers within `limit`, or one end does not believe the
  /// other.
  static kj::Promise<kj::Own<RpcConnection>> connect(
      kj::Network& network, kj::Timer& timer, const wire::Address& address,
      std::chrono::milliseconds limit, const std::shared_ptr<const wire::Trust>& trust);
  explicit RpcConnection(kj::Own<kj::AsyncIoStream> stream);

  [[nodiscard]] capnp::Capability::Client bootstrap() { return bootstrap_; }
  kj::Promise<void> on_disconnect() { return network_.onDisconnect(); }
  [[nodiscard]] const Peer& peer() const { return peer_; }

 private:
  Peer peer_;
  capnp::TwoPartyVatNetwork network_;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc_;
  /// Asked for as it opens: of one that has closed meanwhile Cap'n Proto ends the process that
  /// asks.
  capnp::Capability::Client bootstrap_;
};

}  // namespace sublet::manager
