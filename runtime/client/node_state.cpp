#include <client/node_state.hpp>

namespace sublet::client {

bool NodeState::mark(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (lost_.load(std::memory_order_relaxed)) return false;
  reason_ = reason;
  lost_.store(true, std::memory_order_release);
  return true;
}

void NodeState::lose(const std::string& reason, bool node_gone) {
  const bool first = mark(reason);
  if (node_gone) node_gone_.store(true, std::memory_order_release);
  events_->call_attention();
  if (first) events_->lost(reason);
}

void NodeState::release() {
  mark("the lease was released");
}

void NodeState::ending(const EndingNotice& notice) {
  if (notice.leaving) {
    leaving_.store(true, std::memory_order_release);
    events_->call_attention();
  }
  events_->ending(notice);
}

void NodeState::executor_ended(std::uint32_t generation, const std::string& fate) {
  {
    const std::lock_guard lock(mutex_);
    fates_[generation] = fate;
    if (fates_.size() > kMaxFates) fates_.erase(fates_.begin());
  }
  ended_generation_.store(generation, std::memory_order_release);
  events_->call_attention();
}

void NodeState::executor_started(const transport::Endpoint& endpoint) {
  {
    const std::lock_guard lock(mutex_);
    endpoint_ = endpoint;
  }
  generation_.store(endpoint.generation, std::memory_order_release);
  events_->call_attention();
}

std::string NodeState::reason() const {
  const std::lock_guard lock(mutex_);
  return reason_;
}

std::string NodeState::fate(std::uint32_t generation) const {
  const std::lock_guard lock(mutex_);
  const auto found = fates_.find(generation);
  return found == fates_.end() ? std::string() : found->second;
}

transport::Endpoint NodeState::endpoint() const {
  const std::lock_guard lock(mutex_);
  return endpoint_;
}

}  // namespace sublet::client
