#pragma once

#include <sublet/result.hpp>
#include <wire/address.hpp>
#include <wire/trust.hpp>

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/timer.h>

#include <memory>

namespace sublet::wire {

/// A connection to a manager of somebody whom `trust` believes, who knows who we are. Waits while
/// the queue of a Unix socket is full, as long as the promise is kept: the manager is busy, or
/// others crowd at its door. kDisconnected when nobody listens, kDenied when either end does not
/// believe the other, or a Unix socket lies where others could have put it.
kj::Promise<Result<kj::Own<kj::AsyncIoStream>>> connect(kj::Network& network, kj::Timer& timer,
                                                        const Address& address,
                                                        const std::shared_ptr<const Trust>& trust);

/// For both ends of a connection to a manager. Function libraries are sent in one message, and
/// Cap'n Proto refuses to send what is longer than it would take itself.
capnp::ReaderOptions message_limits();

/// What the server at the other end of a connection offers at first.
capnp::Capability::Client bootstrap(capnp::RpcSystem<capnp::rpc::twoparty::VatId>& rpc);

}  // namespace sublet::wire
