#pragma once

#include <wire/control.capnp.h>

namespace sublet::manager {

class ExecutorManager;

/// What a client of this node talks to first: it claims grants. `node` outlives all connections.
wire::ExecutorManager::Client make_claim_server(ExecutorManager& node);

}  // namespace sublet::manager
