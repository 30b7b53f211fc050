#pragma once

#include <base/shared_memory.hpp>
#include <executor_manager/container_pool.hpp>
#include <executor_manager/executor.hpp>
#include <executor_manager/memory_limiter.hpp>
#include <executor_manager/zygote.hpp>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>

namespace sublet::manager {

/// Executors that a zygote forks, and what they share.
class ForkedExecutors final : public ExecutorSource {
 public:
  /// `limiter` null: memory limits are by RLIMIT_DATA alone. `containers` null: none are there.
  ForkedExecutors(kj::UnixEventPort& port, kj::Timer& timer, ZygoteProcess zygote,
                  std::unique_ptr<MemoryLimiter> limiter = nullptr,
                  std::unique_ptr<ContainerRuntime> containers = nullptr);

  Result<kj::Own<Executor>> start(ExecutorOrder&& order) override;

  /// How many processes, at most, are kept ready to become executors: by the zygote or, where
  /// executors run in containers, in each of these, of which so many are kept without executors.
  void allow_spares(std::uint32_t most);
  /// `told` hears how many there are, whenever that changes.
  void on_spares(std::function<void(std::uint32_t)> told);

  [[nodiscard]] Zygote& zygote() noexcept { return zygote_; }

 private:
  friend class ForkedExecutor;
  Result<kj::Own<ContainerPool::Use>> use_container(ExecutorOrder& order);

  kj::UnixEventPort& port_;
  kj::Timer& timer_;
  std::unique_ptr<MemoryLimiter> limiter_;
  Zygote zygote_;
  std::unique_ptr<ContainerPool> containers_;
};

/// One executor process, from the order to start it until it has been reaped.
class ForkedExecutor final : public Executor, private kj::TaskSet::ErrorHandler {
 public:
  /// Orders it from the zygote. Its data socket exists when this returns, so clients may connect at
  /// once.
  static Result<kj::Own<Executor>> start(ForkedExecutors& services, ExecutorOrder&& order);
  /// `container` null: it runs in none.
  ForkedExecutor(ForkedExecutors& services, kj::Own<ContainerPool::Use> container,
                 base::SharedMemory accounting, ExecutorOrder&& order);
  ~ForkedExecutor();
  KJ_DISALLOW_COPY(ForkedExecutor);

  kj::Promise<void> ready() override { return ready_.addBranch(); }
  Result<void> become(const Application& application) override;
  kj::Promise<Result<void>> open(const wire::Open& open, int library) override;
  kj::Promise<Result<std::string>> listen(const std::string& transport,
                                          const ListenPlaces& places) override;
  kj::Promise<ExecutorFate> ended() override { return ended_.addBranch(); }
  [[nodiscard]] bool over() const noexcept override { return over_; }
  void drain() override;
  void resume() override;
  void stop() override;
  void abandon(const std::string& reason) override;
  void drop() noexcept override;
  [[nodiscard]] Usage usage() const override;
  [[nodiscard]] wire::CallTimes call_times() const override;

 private:
  void spawned(Result<Zygote::Child> child);
  kj::Promise<void> watch();
  kj::Promise<void> until_gone();
  kj::Promise<void> until_no_process(kj::TimePoint end);
  kj::Promise<void> watch_memory();
  void receive(const wire::ReceivedMessage& message);
  void end(std::string fate);
  [[nodiscard]] ExecutorFate make_fate(std::string text) const;
  [[nodiscard]] wire::WorkerCounters counters(std::uint32_t worker) const;
  /// For which it has been there.
  [[nodiscard]] std::chrono::nanoseconds age() const;
  void kill() noexcept;
  void taskFailed(kj::Exception&& exception) override;

  ForkedExecutors& services_;
  kj::Own<ContainerPool::Use> container_;
  Zygote& zygote_;
  ExecutorOrder order_;
  base::SharedMemory accounting_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::unique_ptr<MessageSocket> control_;
  std::unique_ptr<MemoryLimiter::Limit> limit_;
  pid_t pid_ = -1;
  pid_t zygotes_pid_ = -1;  ///< As its zygote knows it.
  base::Fd pidfd_;
  kj::Maybe<kj::Own<kj::UnixEventPort::FdObserver>> pidfd_observer_;
  bool ready_to_serve_ = false;
  bool killed_ = false;
  bool over_ = false;
  std::string dying_words_;
  ErrorKind dying_kind_ = ErrorKind::kInternal;
  std::string becoming_;  ///< The application that it is about to run; empty: none.
  struct PendingOpen {
    std::uint16_t index;
    kj::Own<kj::PromiseFulfiller<Result<void>>> fulfiller;
  };
  std::deque<PendingOpen> opens_;  ///< In the order sent, which is the order answered.
  struct PendingListen {
    std::string transport;
    kj::Own<kj::PromiseFulfiller<Result<std::string>>> fulfiller;
  };
  std::deque<PendingListen> listens_;  ///< As opens_.
  kj::Own<kj::PromiseFulfiller<void>> ready_fulfiller_;
  kj::ForkedPromise<void> ready_;
  kj::Own<kj::PromiseFulfiller<ExecutorFate>> ended_fulfiller_;
  kj::ForkedPromise<ExecutorFate> ended_;
  kj::TaskSet tasks_;
};

}  // namespace sublet::manager
