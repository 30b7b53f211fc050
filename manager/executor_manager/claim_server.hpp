#pragma once

#include <wire/control.capnp.h>

#include <memory>

namespace sublet::manager {

class ExecutorManager;
class Peer;

/// What a client of this node talks to first: it claims grants. `node` outlives all connections;
/// `peer` is the client's.
wire::ExecutorManager::Client make_claim_server(ExecutorManager& node, std::shared_ptr<Peer> peer);

}  // namespace sublet::manager
