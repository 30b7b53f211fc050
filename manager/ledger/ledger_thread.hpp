#pragma once

#include <kj/async.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace sublet::manager {

/// Runs jobs one after the other, for an event loop that must not wait for a disk.
///
/// LIMITS  kMaxJobs that wait.
/// Owner: the ledger; on its loop. Its end waits for the jobs that it was given.
class LedgerThread {
 public:
  static constexpr std::size_t kMaxJobs = 64;

  LedgerThread() : thread_([this] { run(); }) {}
  ~LedgerThread();
  LedgerThread(const LedgerThread&) = delete;
  LedgerThread& operator=(const LedgerThread&) = delete;

  [[nodiscard]] bool is_full();

  /// What `job` returns. It must not throw, and must own or outlive what it touches.
  template <class T, class Job>
  kj::Promise<T> run(Job job) {
    auto pair = kj::newPromiseAndCrossThreadFulfiller<T>();
    // A job must be copyable, a fulfiller is not.
    auto fulfiller = std::make_shared<decltype(pair.fulfiller)>(kj::mv(pair.fulfiller));
    add([job = std::move(job), fulfiller]() mutable { (*fulfiller)->fulfill(job()); });
    return kj::mv(pair.promise);
  }

 private:
  void add(std::function<void()> job);
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool ending_ = false;
  std::thread thread_;  ///< Last: it uses the others.
};

}  // namespace sublet::manager
