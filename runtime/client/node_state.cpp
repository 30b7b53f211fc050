#include <client/node_state.hpp>

#include <utility>

namespace sublet::client {

bool NodeState::mark(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (lost_.load(std::memory_order_relaxed)) return false;
  reason_ = reason;
  lost_at_.store(base::ticks(), std::memory_order_relaxed);
  lost_.store(true, std::memory_order_release);
  return true;
}

bool NodeState::lost_for(std::chrono::nanoseconds time) const noexcept {
  if (!lost()) return false;
  const base::Ticks now = base::ticks();
  const base::Ticks since = lost_at_.load(std::memory_order_relaxed);
  return now > since && now - since > base::TickRate::get().from(time);
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
    Stay stays = Stay::kStays;
    stay_.compare_exchange_strong(stays, Stay::kLeaves, std::memory_order_acq_rel);
    events_->call_attention();
  }
  events_->ending(notice);
}

void NodeState::stays() {
  Stay leaves = Stay::kLeaves;
  stay_.compare_exchange_strong(leaves, Stay::kStays, std::memory_order_acq_rel);
  events_->call_attention();
}

bool NodeState::give_back() noexcept {
  Stay leaves = Stay::kLeaves;
  return stay_.compare_exchange_strong(leaves, Stay::kGivenBack, std::memory_order_acq_rel) ||
         leaves == Stay::kGivenBack;
}

void NodeState::executor_ended(std::uint32_t generation, ExecutorFate fate) {
  {
    const std::lock_guard lock(mutex_);
    fates_[generation] = std::move(fate);
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

ExecutorFate NodeState::fate(std::uint32_t generation) const {
  const std::lock_guard lock(mutex_);
  const auto found = fates_.find(generation);
  return found == fates_.end() ? ExecutorFate{} : found->second;
}

transport::Endpoint NodeState::endpoint() const {
  const std::lock_guard lock(mutex_);
  return endpoint_;
}

}  // namespace sublet::client
