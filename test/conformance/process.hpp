#pragma once

#include "support/eventually.hpp"
#include <base/clock.hpp>
#include <base/helper_process.hpp>

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace sublet::conformance {

/// No wait of the suite is longer; a test that hangs fails instead.
inline constexpr std::chrono::seconds kPatience{30};

/// True when SUBLET_TEST_LONG=1 asks for the runs that look for rare events.
bool long_run();

/// True in the guest that `./dev rdma` boots, whose processors are emulated (SUBLET_RDMA_GUEST=1).
bool emulated_machine();

template <class Done>
bool await(Done&& done, std::chrono::nanoseconds patience = kPatience) {
  return test::eventually(done, patience);
}

/// True while the thread is blocked in the kernel; `process` may be another one.
bool is_blocked(pid_t process, pid_t thread);

/// Context switches of the calling thread because it had nothing to do: it slept so many times.
std::uint64_t times_slept();

/// What the calling thread has had of the processors.
std::chrono::nanoseconds processor_time();

/// Binds the calling thread to one of the CPUs that the process may use, counted from 0.
void bind_this_thread(std::size_t nth);
std::size_t usable_cpus();

std::size_t open_descriptors();
std::size_t mappings_named(std::string_view part_of_name);

/// A child made by fork: make it while the process has one thread. Killed with its owner, or when
/// the process dies.
class Child {
 public:
  /// `body` runs in the child; what it says with say() the parent hears. The child's end is
  /// immediate: no destructors, no exit handlers.
  explicit Child(const std::function<void(Child&)>& body);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return helper_.pid(); }

  /// In the child: a line for the parent, at most 511 characters. In the parent: the next line,
  /// empty when none came.
  void say(const std::string& text);
  std::string hear();

  /// SIGSTOP, and until it has stopped; SIGCONT. Any thread.
  void stop();
  void go_on();

  /// SIGKILL, and the end is waited for.
  void kill() noexcept { helper_.kill(); }

 private:
  base::HelperLink* parent_ = nullptr;  ///< In the child.
  base::HelperProcess helper_;
};

}  // namespace sublet::conformance
