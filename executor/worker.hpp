#pragma once

#include <executor/pinning.hpp>
#include <executor/worker_memory.hpp>
#include <executor/worker_state.hpp>
#include <sublet/result.hpp>
#include <transport/any/any_listener.hpp>

#include <condition_variable>
#include <mutex>

namespace sublet::executor {

/// One pinned thread that serves one channel after the other.
///
/// Owner: the executor; lives until the process ends (a function may be running: nobody can join
/// it). The main thread calls it.
class Worker {
 public:
  explicit Worker(WorkerState& state) : state_(state) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Starts the thread on its own stack. The thread binds itself to `cores`, which outlive it,
  /// before it serves anybody; if it cannot, the process ends with a report.
  Result<void> start(const WorkerMemory& memory, const Cores& cores);

  /// Hands over a channel. One that the worker has not begun to serve is replaced: its client is
  /// gone.
  void serve(transport::AnyServerChannel channel);

 private:
  static void* thread_main(void* self);
  void run() noexcept;
  transport::AnyServerChannel next_channel();

  WorkerState& state_;
  std::byte* handler_stack_ = nullptr;
  const Cores* cores_ = nullptr;
  std::mutex mutex_;
  std::condition_variable arrived_;
  transport::AnyServerChannel next_;
};

}  // namespace sublet::executor
