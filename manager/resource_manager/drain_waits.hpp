#pragma once

#include <common/auth/caller.hpp>
#include <common/types.hpp>
#include <sublet/result.hpp>
#include <wire/drain_report.hpp>
#include <wire/limits.hpp>

#include <kj/async.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace sublet::manager {

/// Those who wait to learn what becomes of a node that drains.
///
/// LIMITS  wire::kMaxDrainWaits for each caller (a user of this machine, or a host), and
///         wire::kMaxAllDrainWaits. Who waits brings the deadline.
/// Owner: the resource manager's service; on its loop.
class DrainWaits {
 public:
  /// Counted as long as it lives.
  using Place = std::shared_ptr<void>;
  /// kOverloaded when the caller, or all together, wait for as many as they may.
  Result<Place> take_place(const Caller& caller);

  /// Resolves when that node's drain ends. A promise that is dropped waits no more.
  kj::Promise<wire::DrainReport> wait(NodeNumber node);
  [[nodiscard]] bool any(NodeNumber node) const { return waiting_.contains(node); }
  void settle(NodeNumber node, const wire::DrainReport& report);

 private:
  using Fulfiller = kj::Own<kj::PromiseFulfiller<wire::DrainReport>>;
  using Counts = std::map<std::string, std::size_t>;

  std::map<NodeNumber, std::vector<Fulfiller>> waiting_;
  std::shared_ptr<Counts> callers_ = std::make_shared<Counts>();
};

}  // namespace sublet::manager
