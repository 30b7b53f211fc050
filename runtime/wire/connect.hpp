#pragma once

#include <wire/address.hpp>

#include <kj/async-io.h>
#include <kj/timer.h>

namespace sublet::wire {

/// A connection to a manager. Waits while the queue of a Unix socket is full, as long as the
/// promise is kept: the manager is busy, or others crowd at its door. An exception when nobody
/// listens.
kj::Promise<kj::Own<kj::AsyncIoStream>> connect(kj::Network& network, kj::Timer& timer,
                                                const Address& address);

}  // namespace sublet::wire
