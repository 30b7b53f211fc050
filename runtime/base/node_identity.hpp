#pragma once

#include <string>

namespace sublet::base {

/// Who can map the same memory: two processes are on the same node when their ids are equal.
struct NodeIdentity {
  std::string name;  ///< SUBLET_NODE_NAME, else SLURMD_NODENAME, else the host name.
  std::string id;    ///< Boot id "/" name.
};

/// `configured_name` wins over the environment; empty means not configured.
NodeIdentity node_identity(const std::string& configured_name = {});

/// user@node, for people to read.
std::string user_at_node(const NodeIdentity& node);

/// The directory for this user's sockets: $XDG_RUNTIME_DIR/sublet, else /tmp/sublet-UID. Not
/// created.
std::string runtime_directory();

}  // namespace sublet::base
