#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace sublet::cli {

/// Tells a person at a terminal what is being waited for, once it has taken a second. Says nothing
/// when stderr is no terminal. Owner: the function that waits.
class WaitingNote {
 public:
  explicit WaitingNote(const std::string& what);
  ~WaitingNote();
  WaitingNote(const WaitingNote&) = delete;
  WaitingNote& operator=(const WaitingNote&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  bool is_done_ = false;
  std::thread thread_;
};

}  // namespace sublet::cli
