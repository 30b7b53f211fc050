#include <executor_manager/node_drain.hpp>

#include <algorithm>
#include <utility>

namespace sublet::manager {

NodeDrain::NodeDrain() : drained_(nullptr) {
  auto paf = kj::newPromiseAndFulfiller<void>();
  drained_ = kj::mv(paf.promise);
  drained_fulfiller_ = kj::mv(paf.fulfiller);
}

bool NodeDrain::begin(const std::string& reason, Origin origin) {
  if (under_way()) return false;
  phase_ = Phase::kDraining;
  origin_ = origin;
  reason_ = reason;
  counted_ = true;
  ends_.clear();
  calls_ = {};
  return true;
}

Result<bool> NodeDrain::cancel() {
  if (phase_ == Phase::kUp) return false;
  if (origin_ == Origin::kHere) {
    return fail(ErrorKind::kInvalid,
                "it leaves because of a signal to its executor manager (" + reason_ +
                    "), which no command takes back; start it again once it has ended");
  }
  if (phase_ == Phase::kLeaving) {
    return fail(ErrorKind::kInvalid,
                "its leases have ended and it is leaving; start its executor manager again");
  }
  phase_ = Phase::kUp;
  reason_.clear();
  counted_ = false;
  return true;
}

void NodeDrain::leave(const std::string& reason) {
  if (reason_.empty()) reason_ = reason;
  phase_ = Phase::kLeaving;
}

void NodeDrain::note(const HeldGrant& grant) {
  if (!counted_) return;
  const HeldGrant::DrainEnd end = grant.drain_end();
  auto& worst = ends_[grant.terms().key.lease];
  worst = std::max(worst, end);
  calls_.calls_finished += grant.calls_since_drain();
  const ExecutorFate* const fate = grant.executors().last_fate();
  if (end != HeldGrant::DrainEnd::kCutOff || fate == nullptr) return;
  calls_.calls_cut_off += fate->in_call;
  calls_.workers_unknown += fate->unknown;
}

void NodeDrain::note_empty() {
  if (phase_ != Phase::kDraining) return;
  // From here on it cannot be taken back: whoever waits for this ends the node.
  phase_ = Phase::kLeaving;
  drained_fulfiller_->fulfill();
}

std::optional<wire::DrainCounts> NodeDrain::counts() const {
  if (!counted_) return std::nullopt;
  wire::DrainCounts counts = calls_;
  for (const auto& [lease, end] : ends_) {
    switch (end) {
      case HeldGrant::DrainEnd::kInOrder:
        ++counts.in_order;
        break;
      case HeldGrant::DrainEnd::kUnclaimed:
        ++counts.unclaimed;
        break;
      case HeldGrant::DrainEnd::kBroken:
        ++counts.broken;
        break;
      case HeldGrant::DrainEnd::kCutOff:
        ++counts.cut_off;
        break;
    }
  }
  return counts;
}

}  // namespace sublet::manager
