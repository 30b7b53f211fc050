#pragma once

#include <base/node_identity.hpp>
#include <client/control_thread.hpp>
#include <client/executor_list.hpp>
#include <sublet/lease.hpp>
#include <sublet/session.hpp>
#include <wire/manager_calls.hpp>

#include <memory>
#include <utility>
#include <vector>

// What lives on the helper thread's loop. Only for control_plane.cpp.
namespace sublet::client {

/// Leases from executor managers without a resource manager: looks what is free on each, places the
/// lease, and asks each for its share, all or nothing.
///
/// Owner: the control plane; made, used and destroyed on the loop, which outlives what it starts.
class DirectLeases {
 public:
  explicit DirectLeases(std::vector<ListedExecutor> executors) : executors_(std::move(executors)) {}

  /// The nodes that can be leased from, by their place in the list; kDisconnected, or what they
  /// say, when there is none.
  kj::Promise<Result<std::vector<NodeInfo>>> nodes(ControlLoop& loop);
  /// kOverloaded when not enough is free: says what is, and who did not answer.
  kj::Promise<Result<wire::Granted>> ask(ControlLoop& loop, LeaseRequest wanted,
                                         const base::NodeIdentity& client);

 private:
  struct Looked;  ///< What one executor manager said.
  struct Asking;  ///< One lease on its way.

  kj::Promise<Looked> look(ControlLoop& loop, std::size_t index);
  kj::Promise<std::vector<Looked>> look_at_all(ControlLoop& loop);
  kj::Promise<Result<wire::Granted>> attempt(ControlLoop& loop,
                                             const std::shared_ptr<Asking>& asking);
  kj::Promise<Result<wire::Granted>> take(ControlLoop& loop, const std::shared_ptr<Asking>& asking,
                                          std::vector<Looked> looked);
  kj::Promise<Result<wire::Granted>> take_shares(ControlLoop& loop,
                                                 const std::shared_ptr<Asking>& asking,
                                                 std::vector<Looked> looked,
                                                 const std::vector<wire::Share>& shares);

  std::vector<ListedExecutor> executors_;
};

}  // namespace sublet::client
