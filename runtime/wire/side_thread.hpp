#pragma once

#include <kj/async.h>
#include <kj/debug.h>

#include <atomic>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

namespace sublet::wire {

/// Does what may hang, as everything may on a shared file system, on a thread that nobody waits
/// for: not the loop, and not the end of the process. One job at a time.
///
/// Owner: a part of a manager; on its loop.
class SideThread {
 public:
  /// What `job` returns; an exception of type OVERLOADED when the last job still hangs. `job` may
  /// outlive everything, and must not throw.
  template <class T, class Job>
  kj::Promise<T> run(Job job) {
    if (busy_->exchange(true)) {
      return KJ_EXCEPTION(OVERLOADED, "the file system has not answered since the last time");
    }
    auto pair = kj::newPromiseAndCrossThreadFulfiller<T>();
    // A thread's function must be destroyed without exceptions, a fulfiller need not be.
    auto fulfiller = std::make_shared<decltype(pair.fulfiller)>(kj::mv(pair.fulfiller));
    try {
      std::thread([busy = busy_, job = std::move(job), fulfiller]() mutable {
        T result = job();
        busy->store(false);
        (*fulfiller)->fulfill(kj::mv(result));
      }).detach();
    } catch (const std::system_error& error) {
      busy_->store(false);
      return KJ_EXCEPTION(OVERLOADED, "starting a thread", error.what());
    }
    return kj::mv(pair.promise);
  }

 private:
  std::shared_ptr<std::atomic<bool>> busy_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace sublet::wire
