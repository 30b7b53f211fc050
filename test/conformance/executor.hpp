#pragma once

#include "control.hpp"
#include "functions.hpp"
#include "process.hpp"
#include "transport_under_test.hpp"
#include <base/clock.hpp>
#include <base/fd.hpp>
#include <executor/worker_datapath.hpp>
#include <transport/tuning.hpp>

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sublet::conformance {

struct ExecutorOptions {
  HostOptions host;
  /// Idle for so long, a worker sleeps; negative: only when cores are short, 0: at once.
  std::chrono::nanoseconds hot_timeout{-1};
  std::chrono::nanoseconds sleep_limit = transport::tuning::kSleepSlice;
  /// Before it sleeps a worker dawdles for a random time up to this, deaf to requests: they then
  /// come at every moment of its falling asleep.
  std::chrono::nanoseconds drowsiness{0};
  /// Which CPU each worker is bound to; empty: none.
  std::vector<std::size_t> cpus;
};

/// A worker's channel as the executor's own loop serves it: shows when the worker sleeps, counts
/// what it ends, and tells what a function said word for word, since it is the transport that is
/// tested.
template <transport::ServerChannel Server>
class WatchedChannel {
 public:
  static constexpr std::chrono::nanoseconds kContendedSpin = transport::contended_spin<Server>();

  WatchedChannel(Server& channel, const ExecutorOptions& options, WorkerContext& context)
      : channel_(channel), options_(options), context_(context) {}

  [[nodiscard]] bool poll(transport::Invocation& invocation) noexcept {
    return channel_.poll(invocation);
  }
  void complete(const transport::Invocation& invocation,
                const transport::Completion& completion) noexcept {
    // Before the reply: who has the reply may rely on the count.
    context_.view->calls.fetch_add(1, std::memory_order_relaxed);
    if (std::exchange(died_, false)) return;  // the signal handler has ended it
    transport::Completion told = completion;
    if (told.status == Status::kFunctionError) told.error = context_.failure;
    channel_.complete(invocation, told);
  }
  void complete_dying(std::uint32_t sequence, Status status, std::string_view error) noexcept {
    died_ = true;
    channel_.complete_dying(sequence, status, error);
  }
  void sleep(std::chrono::nanoseconds) noexcept {  // tidy-allow: part of every channel
    if (options_.drowsiness.count() > 0) {
      const base::Ticks most = base::TickRate::get().from(options_.drowsiness);
      const base::Ticks end = base::ticks() + random_() % most;
      while (base::ticks() < end) {
      }
    }
    context_.view->sleeps.fetch_add(1, std::memory_order_relaxed);
    context_.view->in_sleep.store(true, std::memory_order_relaxed);
    channel_.sleep(options_.sleep_limit);
    context_.view->in_sleep.store(false, std::memory_order_relaxed);
  }
  void interrupt() noexcept { channel_.interrupt(); }
  void retire() noexcept { channel_.retire(); }
  [[nodiscard]] bool is_open() const noexcept { return channel_.is_open(); }

 private:
  Server& channel_;
  const ExecutorOptions& options_;
  WorkerContext& context_;
  std::minstd_rand random_;
  bool died_ = false;
};

/// A listener in a thread of its own and its workers, each a thread that serves one channel after
/// the other. Any thread may ask it; destroying it ends all of them.
template <TransportUnderTest T>
class Executor {
  using Server = typename T::Server;

 public:
  Executor(ExecutorOptions options, SharedControl& control)
      : options_(std::move(options)),
        control_(control),
        host_(conformance::listen<T>(options_.host).value_or_throw()),
        stop_(::eventfd(0, EFD_CLOEXEC)),
        workers_(options_.host.workers) {
    add_functions(functions_);
    for (std::uint32_t i = 0; i < options_.host.workers; ++i) {
      workers_[i].thread = std::thread([this, i] { run_worker(i); });
    }
    listener_ = std::thread([this] { listen(); });
  }
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  ~Executor() {
    ::eventfd_write(stop_.get(), 1);
    listener_.join();
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      for (Worker& worker : workers_) {
        if (worker.channel) worker.channel->interrupt();
      }
    }
    changed_.notify_all();
    control_.open_gate(4096);  // whoever waits at it
    for (Worker& worker : workers_) worker.thread.join();
  }

  [[nodiscard]] std::string address() const { return host_->address(); }

  /// Waits until the worker has the channel that its client has already.
  [[nodiscard]] bool await_taken(std::uint32_t worker) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return workers_[worker].channel != nullptr; });
  }

  /// Waits until the worker has no channel and would take one.
  [[nodiscard]] bool await_free(std::uint32_t worker) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return workers_[worker].channel == nullptr; });
  }

  /// How many channels have ended because their client closed or died.
  [[nodiscard]] std::uint64_t clients_ended() const { return clients_ended_; }

  /// Ends a worker's channel from this side, as an executor that stops does.
  void interrupt(std::uint32_t worker) {
    const std::lock_guard lock(mutex_);
    if (workers_[worker].channel) workers_[worker].channel->interrupt();
  }

 private:
  struct Worker {
    std::unique_ptr<Server> channel;  ///< Guarded by mutex_; used by the thread while it is there.
    std::thread thread;
  };

  void listen() {
    for (;;) {
      std::vector<pollfd> fds{{stop_.get(), POLLIN, 0}};
      host_->append_poll_fds(fds);
      ::poll(fds.data(), fds.size(), host_->poll_timeout_ms());
      if (fds[0].revents != 0) return;
      host_->service([this](std::uint32_t worker) { return may_take(worker); },
                     [this](std::uint32_t worker, std::unique_ptr<Server> channel) {
                       hand_over(worker, std::move(channel));
                     },
                     [this](std::uint32_t worker) {
                       interrupt(worker);
                       clients_ended_.fetch_add(1);
                     });
    }
  }

  bool may_take(std::uint32_t worker) {
    const std::lock_guard lock(mutex_);
    return workers_[worker].channel == nullptr;
  }

  void hand_over(std::uint32_t worker, std::unique_ptr<Server> channel) {
    {
      const std::lock_guard lock(mutex_);
      workers_[worker].channel = std::move(channel);
    }
    changed_.notify_all();
  }

  void run_worker(std::uint32_t index) {
    if (!options_.cpus.empty()) bind_this_thread(options_.cpus[index]);
    Worker& worker = workers_[index];
    WorkerView& view = control_->workers[index];
    view.thread = ::gettid();
    wire::WorkerCounters counters{};
    alignas(64) std::array<std::byte, transport::kInlineBytes> scratch{};
    executor::WorkerState state;
    state.functions = &functions_;
    state.counters = &counters;
    state.rate = base::TickRate::get();
    state.hot_ticks =
        options_.hot_timeout.count() < 0 ? ~base::Ticks{0} : state.rate.from(options_.hot_timeout);
    state.scratch = scratch.data();
    WorkerContext context{&*control_, &view, &state, {}};
    this_worker = &context;
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stopping_ || worker.channel != nullptr; });
      if (worker.channel == nullptr) return;
      Server& channel = *worker.channel;
      lock.unlock();
      WatchedChannel<Server> watched(channel, options_, context);
      executor::WorkerLoop(watched, state).serve();
      lock.lock();
      worker.channel.reset();
      changed_.notify_all();
    }
  }

  const ExecutorOptions options_;
  SharedControl& control_;
  executor::FunctionTable functions_;
  std::unique_ptr<typename T::Listener> host_;
  base::Fd stop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Worker> workers_;
  bool stopping_ = false;
  std::atomic<std::uint64_t> clients_ended_{0};
  std::thread listener_;
};

/// An executor in a process of its own, which a test may kill. As for Child: make it while the
/// process has one thread.
template <TransportUnderTest T>
class ChildExecutor {
 public:
  ChildExecutor(const ExecutorOptions& options, SharedControl& control)
      : child_([&](Child& self) {
          const Executor<T> executor(options, control);
          self.say(executor.address());
          for (;;) ::pause();
        }),
        address_(child_.hear()) {}

  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  [[nodiscard]] Child& process() noexcept { return child_; }

 private:
  Child child_;
  std::string address_;
};

}  // namespace sublet::conformance
