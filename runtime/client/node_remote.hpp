#pragma once

#include <client/control_thread.hpp>
#include <client/node_link.hpp>
#include <wire/control.capnp.h>

// Only for control_plane.cpp and node_link.cpp.
namespace sublet::client {

/// The capability that holds one node's share of a lease. On the helper thread's loop.
struct NodeLink::Remote {
  kj::Own<Connection> connection;
  wire::ClaimedLease::Client lease;
  kj::Promise<void> watch;  ///< Tells the state when the executor manager goes away.
};

/// What a claim brings. On the loop until `remote` is released to a NodeLink.
struct Claimed {
  std::size_t grant = 0;  ///< Index of the grant it is for.
  std::shared_ptr<NodeState> state;
  std::unique_ptr<NodeLink::Remote> remote;
  transport::Endpoint endpoint;
  std::vector<std::string> cpusets;
};

/// Claims `grant` at the first of its addresses that answers. `node_id` is our own node's.
kj::Promise<Result<Claimed>> claim_grant(ControlLoop& loop, std::size_t index, const Grant& grant,
                                         const std::string& node_id,
                                         std::shared_ptr<LeaseEvents> events);

}  // namespace sublet::client
