#pragma once

#include <base/node_identity.hpp>
#include <client/application.hpp>
#include <client/control_thread.hpp>
#include <client/node_state.hpp>
#include <wire/control.capnp.h>
#include <wire/signing_key.hpp>

#include <memory>
#include <string>
#include <vector>

// What lives on the helper thread's loop. Only for control_plane.cpp and node_link.cpp.
namespace sublet::client {

/// The capability that holds one node's share of a lease. Dropping it gives the share back.
struct NodeRemote {
  kj::Own<Connection> connection;
  wire::ClaimedLease::Client lease;
  kj::Promise<void> watch;   ///< Tells the state when the executor manager goes away.
  kj::Promise<void> follow;  ///< Tells the state how executors end, and of new ones.
};

/// What a claim brings. On the loop until `remote` is released to a NodeLink.
struct Claimed {
  NodeShare share;
  std::unique_ptr<NodeRemote> remote;
};

/// Who claims.
struct ClientNode {
  base::NodeIdentity node;
  std::string transport;  ///< The one asked for by name; empty: the best there is.
  /// What executors are to run; null: only libraries.
  const Application* application = nullptr;
  bool keep = false;  ///< For others.
  /// The holder's, for whom the grants are. Outlives the claim.
  const wire::SigningKey* key = nullptr;
};

/// Claims `grant` at the first of its addresses that answers.
kj::Promise<Result<Claimed>> claim_grant(ControlLoop& loop, const Grant& grant,
                                         const ClientNode& client,
                                         std::shared_ptr<LeaseEvents> events);

/// Claims all grants side by side; one failure gives all of them back.
kj::Promise<Result<std::vector<Claimed>>> claim_all(ControlLoop& loop,
                                                    const std::vector<Grant>& grants,
                                                    const ClientNode& client,
                                                    const std::shared_ptr<LeaseEvents>& events);

}  // namespace sublet::client
