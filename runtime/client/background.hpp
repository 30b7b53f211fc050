#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sublet::client {

/// Runs what may wait (connecting, asking for nodes, giving them back) on threads of its own, so
/// that the thread that uses a lease never does. Threads start when they are first needed, and take
/// none of the application's signals.
///
/// Owner: a lease. Any thread may call run(). The destructor waits for what has been started: each
/// job has a deadline of its own.
class Background {
 public:
  /// More jobs wait for one of these.
  static constexpr std::size_t kMaxThreads = 4;

  Background() = default;
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  /// False when there is no thread to be had now, and none that will run it.
  [[nodiscard]] bool run(std::function<void()> job);
  /// Waits until nothing is under way or waits.
  void drain();

 private:
  void main();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool stop_ = false;
};

}  // namespace sublet::client
