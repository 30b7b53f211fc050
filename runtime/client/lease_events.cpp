#include <base/log.hpp>
#include <client/last_handle.hpp>
#include <client/lease_events.hpp>

#include <cxxabi.h>

#include <exception>
#include <utility>

namespace sublet::client {
namespace {

/// A callback is called in the middle of things that must come to their end.
template <class Callback, class Argument>
void tell(const char* name, const Callback& callback, const Argument& argument) {
  notice_exit();
  try {
    callback(argument);
  } catch (const std::exception& error) {
    base::log().error("the callback {} threw: {}", name, error.what());
  } catch (const abi::__forced_unwind&) {  // its thread is cancelled
    throw;
  } catch (...) {
    base::log().error("the callback {} threw something that is no std::exception", name);
  }
}

}  // namespace

void LeaseEvents::set_on_ending(std::function<void(const EndingNotice&)> callback) {
  const std::lock_guard lock(mutex_);
  on_ending_ = std::move(callback);
  if (!on_ending_ || !untold_ending_) return;
  Untold untold = std::move(*std::exchange(untold_ending_, std::nullopt));
  untold.notice.left = std::chrono::duration_cast<std::chrono::milliseconds>(
      untold.end - std::chrono::steady_clock::now());
  if (untold.notice.left.count() > 0) ending(untold.notice);
}

void LeaseEvents::set_on_lost(std::function<void(const std::string&)> callback) {
  const std::lock_guard lock(mutex_);
  on_lost_ = std::move(callback);
  if (!on_lost_ || !untold_loss_) return;
  const std::string reason = std::move(*std::exchange(untold_loss_, std::nullopt));
  lost(reason);
}

void LeaseEvents::extended() {
  const std::lock_guard lock(mutex_);
  if (untold_ending_ && !untold_ending_->notice.leaving) untold_ending_.reset();
}

void LeaseEvents::ending(const EndingNotice& notice) {
  const std::lock_guard lock(mutex_);
  if (!on_ending_) {
    untold_ending_ = {notice, std::chrono::steady_clock::now() + notice.left};
    return;
  }
  const auto callback = on_ending_;  // which may set another one
  tell("on_ending", callback, notice);
}

void LeaseEvents::lost(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (!on_lost_) {
    untold_loss_ = reason;
    return;
  }
  const auto callback = on_lost_;
  tell("on_lost", callback, reason);
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
