#pragma once

// How an executor ends when a function leaves it no other way: a fatal signal, exit(),
// pthread_exit() or an overrun. The client of the call is told through its channel, the manager
// through the control socket, then the process is gone: its memory is not to be trusted any more.
// Calls in flight on other workers are lost with it.
//
// A child that a function starts is no concern of this: it ends as it would in any program.
// "Nothing of ours" runs in it; one that returns from the function ends there.
//
// Everything here is async-signal-safe, and reaches its data through static storage because a
// signal handler has nothing else.

#include <executor/worker_state.hpp>

#include <span>
#include <string_view>

namespace sublet::executor {

/// Does not return when another thread has crashed and ends the process: its backtrace and core
/// file are not cut short. A manager that has no time kills the process.
void leave_the_end_to_a_crash() noexcept;

/// Installs the handlers. Once, in the zygote: executors inherit them. Before arm_fatal_reports
/// they leave every signal to its default. SIGTERM, SIGINT and SIGHUP do nothing from now on.
void install_fatal_handlers();

/// Writes out what functions have printed, unless one of them is printing: it may never end.
void flush_output() noexcept;

/// From now on fatal ends are reported to `control_socket`. In the executor, before any thread.
void arm_fatal_reports(int control_socket) noexcept;

/// Whose functions a signal to the whole process may have come from. They live as long as it.
void blame_workers(std::span<WorkerState> workers) noexcept;

/// Sees to it that the next exit() and quick_exit() are reported before anything else that runs
/// then. After arm_fatal_reports, and again after each library has been loaded.
void register_exit_handlers() noexcept;

/// Says whose functions run on the calling thread.
void set_this_worker(WorkerState* worker) noexcept;

/// While it lives, a fatal end of this thread is put down to the loading of `library`.
class LoadingGuard {
 public:
  explicit LoadingGuard(const char* library) noexcept;
  ~LoadingGuard();
  LoadingGuard(const LoadingGuard&) = delete;
  LoadingGuard& operator=(const LoadingGuard&) = delete;
};

/// The executor cannot begin its work.
[[noreturn]] void die_before_start(std::string_view why,
                                   ErrorKind kind = ErrorKind::kInternal) noexcept;

/// The function that runs on the calling thread ends this thread (pthread_exit, cancellation).
[[noreturn]] void die_by_thread_end(WorkerState& worker) noexcept;

/// Ends the call that the watchdog has taken from `worker`: `function` overran its timeout.
[[noreturn]] void die_by_timeout(WorkerState& worker, const FunctionEntry& function) noexcept;

/// The call is not this thread's to end: another thread is ending the process, or this is the child
/// of a function. Touch nothing.
[[noreturn]] void wait_for_the_end() noexcept;

}  // namespace sublet::executor
