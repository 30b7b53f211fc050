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
  std::string host;  ///< Where the executor manager was reached, as it stands before a port.
  transport::Preference preference;
  transport::Endpoint endpoint;
  std::vector<std::string> cpusets;
};

/// Who claims.
struct ClientNode {
  std::string node_id;
  std::string transport;  ///< The one asked for by name; empty: the best there is.
};

/// Claims `grant` at the first of its addresses that answers.
kj::Promise<Result<Claimed>> claim_grant(ControlLoop& loop, std::size_t index, const Grant& grant,
                                         const ClientNode& client,
                                         std::shared_ptr<LeaseEvents> events);

}  // namespace sublet::client
