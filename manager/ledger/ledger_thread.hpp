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

/// Runs jobs one after the other, for an event loop that must not wait for a disk. A simulation
/// runs them on the loop, when it wants to.
///
/// Owner: the ledger; on its loop.
class LedgerJobs {
 public:
  virtual ~LedgerJobs() noexcept(false) = default;

  [[nodiscard]] virtual bool is_full() = 0;

  /// What `job` returns. It must not throw, and must own or outlive what it touches.
  template <class T, class Job>
  kj::Promise<T> run(Job job) {
    auto pair = kj::newPromiseAndCrossThreadFulfiller<T>();
    // A job must be copyable, a fulfiller is not.
    auto fulfiller = std::make_shared<decltype(pair.fulfiller)>(kj::mv(pair.fulfiller));
    add([job = std::move(job), fulfiller]() mutable { (*fulfiller)->fulfill(job()); });
    return kj::mv(pair.promise);
  }

 protected:
  virtual void add(std::function<void()> job) = 0;
};

/// A thread for them.
///
/// LIMITS  kMaxJobs that wait.
/// Its end waits for the jobs that it was given.
class LedgerThread final : public LedgerJobs {
 public:
  static constexpr std::size_t kMaxJobs = 64;

  LedgerThread() : thread_([this] { work(); }) {}
  ~LedgerThread() noexcept override;
  LedgerThread(const LedgerThread&) = delete;
  LedgerThread& operator=(const LedgerThread&) = delete;

  [[nodiscard]] bool is_full() override;

 private:
  void add(std::function<void()> job) override;
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool ending_ = false;
  std::thread thread_;  ///< Last: it uses the others.
};

}  // namespace sublet::manager
