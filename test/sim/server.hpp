#pragma once

#include "world.hpp"
#include <common/peer.hpp>
#include <common/rpc_listener.hpp>

#include <kj/async.h>

#include <memory>
#include <string>

namespace sublet::sim {

/// Serves a process's connections in a simulated network as RpcListener does in a real one: every
/// connection has a place, a guarded stream, and a caller whose user is proved.
///
/// Owner: the simulated manager; dropping it drops the connections.
class Server final : private kj::TaskSet::ErrorHandler {
 public:
  /// `address` as a client names it: "unix:@name".
  Server(World& world, Process& process, const std::string& address,
         manager::RpcListener::Bootstrap bootstrap);
  /// Nobody connects any more; with `silently` the callers hear nothing.
  void shut(bool silently = false);

 private:
  void accept(kj::Own<kj::AsyncIoStream> stream, const Process& from);
  void taskFailed(kj::Exception&& exception) override;

  World& world_;
  Process& process_;
  std::string address_;
  manager::RpcListener::Bootstrap bootstrap_;
  std::shared_ptr<manager::ServedConnections> connections_;
  kj::TaskSet tasks_;
};

}  // namespace sublet::sim
