#pragma once

#include <cstdint>
#include <string>

namespace sublet::base {

/// Who can map the same memory: two processes are on the same node when their ids are equal.
struct NodeIdentity {
  std::string name;     ///< SUBLET_NODE_NAME, else SLURMD_NODENAME, else the host name.
  std::string id;       ///< Boot id "." network namespace "." host name "/" name.
  bool chosen = false;  ///< The name is SUBLET_NODE_NAME's or the caller's.
};

/// True when both ids are of processes that reach each other's Unix sockets, whatever names their
/// nodes have.
bool on_one_machine(const std::string& id, const std::string& other);

/// True when the node `name` with that id is this process's: it has the same id, or it is this host
/// by another name than this process has found for it (Slurm's where that was started by Slurm, the
/// host's in a login shell). Names that somebody has chosen for this process make virtual nodes,
/// and are never taken for one another; nor are containers with host names of their own.
bool is_same_node(const NodeIdentity& own, const std::string& name, const std::string& id);

/// `configured_name` wins over the environment; empty means not configured.
NodeIdentity node_identity(const std::string& configured_name = {});

/// user@node, for people to read.
std::string user_at_node(const NodeIdentity& node);

/// SLURM_JOB_ID; 0 when this process is of no job of Slurm's.
std::uint32_t slurm_job();

/// The directory for this user's sockets: $XDG_RUNTIME_DIR/sublet where that is a directory of this
/// user, else /tmp/sublet-UID. Not created.
std::string runtime_directory();

}  // namespace sublet::base
