#include <client/last_handle.hpp>
#include <client/lease_events.hpp>

namespace sublet::client {

void LeaseEvents::set_on_ending(std::function<void(const EndingNotice&)> callback) {
  const std::lock_guard lock(mutex_);
  on_ending_ = std::move(callback);
}

void LeaseEvents::set_on_lost(std::function<void(const std::string&)> callback) {
  const std::lock_guard lock(mutex_);
  on_lost_ = std::move(callback);
}

void LeaseEvents::ending(const EndingNotice& notice) {
  const std::lock_guard lock(mutex_);
  if (!on_ending_) return;
  notice_exit();
  const auto callback = on_ending_;
  callback(notice);
}

void LeaseEvents::lost(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (!on_lost_) return;
  notice_exit();
  const auto callback = on_lost_;
  callback(reason);
}

void LeaseEvents::call_attention() noexcept {
  quiet_.front().store(false, std::memory_order_release);
  {
    const std::lock_guard lock(news_mutex_);
    ++calls_;
  }
  news_.notify_all();
}

void LeaseEvents::wait(std::chrono::nanoseconds limit) noexcept {
  std::unique_lock lock(news_mutex_);
  news_.wait_for(lock, limit, [this] { return calls_ != seen_; });
  seen_ = calls_;
}

}  // namespace sublet::client
