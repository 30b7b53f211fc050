#include <cli/waiting.hpp>

#include <unistd.h>

#include <cstdio>

namespace sublet::cli {

WaitingNote::WaitingNote(const std::string& what) {
  if (::isatty(STDERR_FILENO) == 0) return;
  thread_ = std::thread([this, what] {
    std::unique_lock lock(mutex_);
    if (done_.wait_for(lock, std::chrono::seconds(1), [this] { return is_done_; })) return;
    std::fprintf(stderr, "waiting for %s ...\n", what.c_str());
  });
}

WaitingNote::~WaitingNote() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    is_done_ = true;
  }
  done_.notify_one();
  thread_.join();
}

}  // namespace sublet::cli
