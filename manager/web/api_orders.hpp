#pragma once

#include <web/api.hpp>

namespace sublet::manager::web {

// What changes something. Each answers when the nodes have been told.

/// {"limit_ms": 30000, "reason": "...", "own_notice": false}, all of them optional.
kj::Promise<Reply> drain_node(ApiContext& context, const WebRequest& request);
kj::Promise<Reply> cancel_drain(ApiContext& context, const WebRequest& request);
/// A node that is lost is forgotten; one that is up drains, and leaves.
kj::Promise<Reply> remove_node(ApiContext& context, const WebRequest& request);
/// {"reason": "...", "notice": false}, both optional.
kj::Promise<Reply> release_lease(ApiContext& context, const WebRequest& request);

}  // namespace sublet::manager::web
