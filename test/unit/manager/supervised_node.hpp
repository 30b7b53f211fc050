#pragma once

#include "support/temp_directory.hpp"
#include <base/fd.hpp>
#include <common/async.hpp>
#include <executor_manager/executor_supervisor.hpp>
#include <executor_manager/forked_executor.hpp>
#include <executor_manager/node_services.hpp>
#include <executor_manager/zygote.hpp>

#include <kj/async-io.h>
#include <kj/timer.h>
#include <sys/types.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

/// Counts what waits for it.
class CountingTimer final : public kj::Timer {
 public:
  explicit CountingTimer(kj::Timer& timer) : timer_(timer) {}
  [[nodiscard]] int waiting() const noexcept { return waiting_; }

  kj::TimePoint now() const override { return timer_.now(); }
  kj::Promise<void> atTime(kj::TimePoint time) override { return counted(timer_.atTime(time)); }
  kj::Promise<void> afterDelay(kj::Duration delay) override {
    return counted(timer_.afterDelay(delay));
  }

 private:
  kj::Promise<void> counted(kj::Promise<void> promise) {
    ++waiting_;
    return promise.attach(kj::defer([this] { --waiting_; }));
  }

  kj::Timer& timer_;
  int waiting_ = 0;
};

/// What an executor manager has for its grants: a real zygote, with real executors, on the loop of
/// this test. The grants' timer stands still unless the test moves it.
class SupervisedNode {
 public:
  SupervisedNode();
  KJ_DISALLOW_COPY(SupervisedNode);

  NodeServices& services() { return services_; }
  [[nodiscard]] const CountingTimer& timer() const { return counting_; }
  void advance(std::chrono::milliseconds time);

  /// Of one core, which this process may use.
  static GrantTerms terms();
  static std::vector<std::string> cpusets();

  /// The function of a library whose loading the test can hold up.
  ExecutorSupervisor::FunctionRequest gated_function(std::uint16_t index);
  /// Lets that library be loaded so often.
  void let_on(int times);
  /// Waits until it is being loaded.
  void wait_until_loading();

  /// Kills the one executor there is.
  void kill_executor();
  [[nodiscard]] std::vector<pid_t> executors();

  /// Fails the test by an exception after 10 s.
  template <class T>
  T wait(kj::Promise<T> promise) {
    return within(io_.provider->getTimer(), std::chrono::seconds(10), kj::mv(promise),
                  "what the test waits for")
        .wait(io_.waitScope);
  }
  /// Lets everything happen that can happen now.
  void turn() { io_.waitScope.poll(); }
  kj::WaitScope& scope() { return io_.waitScope; }

 private:
  kj::AsyncIoContext io_;
  std::chrono::milliseconds elapsed_{0};
  kj::TimerImpl timer_;
  CountingTimer counting_{timer_};
  const test::TempDirectory directory_;
  base::Fd entered_;
  base::Fd let_on_;
  ManagerClock clock_;
  LibraryCache libraries_;
  ForkedExecutors processes_;
  NodeServices services_;
};

}  // namespace sublet::manager
