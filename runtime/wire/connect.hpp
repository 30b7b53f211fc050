#pragma once

#include <wire/address.hpp>

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/timer.h>

namespace sublet::wire {

/// A connection to a manager. Waits while the queue of a Unix socket is full, as long as the
/// promise is kept: the manager is busy, or others crowd at its door. An exception when nobody
/// listens.
kj::Promise<kj::Own<kj::AsyncIoStream>> connect(kj::Network& network, kj::Timer& timer,
                                                const Address& address);

/// For both ends of a connection to a manager. Function libraries are sent in one message, and
/// Cap'n Proto refuses to send what is longer than it would take itself.
capnp::ReaderOptions message_limits();

/// What the server at the other end of a connection offers at first.
capnp::Capability::Client bootstrap(capnp::RpcSystem<capnp::rpc::twoparty::VatId>& rpc);

}  // namespace sublet::wire
