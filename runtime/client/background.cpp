#include <base/log.hpp>
#include <base/uncancelled.hpp>
#include <client/background.hpp>
#include <client/last_handle.hpp>

#include <pthread.h>
#include <signal.h>

#include <exception>
#include <system_error>
#include <utility>

namespace sublet::client {

Background::~Background() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool Background::run(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    if (jobs_.size() > idle_ && threads_.size() < kMaxThreads) {
      sigset_t all;
      sigset_t before;
      sigfillset(&all);
      ::pthread_sigmask(SIG_SETMASK, &all, &before);
      try {
        threads_.emplace_back([this] { main(); });
      } catch (const std::system_error& error) {
        base::log().info("no thread for work in the background: {}", error.what());
        if (threads_.empty()) jobs_.pop_back();
      }
      ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    if (threads_.empty()) return false;
  }
  changed_.notify_all();
  return true;
}

void Background::drain() {
  const base::Uncancelled uncancelled;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return jobs_.empty() && idle_ == threads_.size(); });
}

void Background::main() {
  ::pthread_setname_np(::pthread_self(), "sublet-mend");
  const OwnThread own;
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    --idle_;
    if (jobs_.empty()) return;
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    try {
      job();
    } catch (const std::exception& error) {
      base::log().error("work in the background failed: {}", error.what());
    }
    job = nullptr;  // what it holds goes without the lock
    lock.lock();
  }
}

}  // namespace sublet::client
