#include <base/unforked_memory.hpp>
#include <executor/backtrace.hpp>
#include <executor/core_file.hpp>
#include <executor/fatal.hpp>
#include <executor/signal_text.hpp>
#include <wire/executor_packets.hpp>

#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <span>

namespace sublet::executor {
namespace {

/// Where a handler runs when the main thread's own stack is full (a library's constructor may do
/// that).
constexpr std::size_t kMainHandlerStack = 64u << 10;
alignas(64) std::array<std::byte, kMainHandlerStack> g_main_handler_stack;

int g_control = -1;
pid_t g_main_thread = -1;
/// The executor. A child that a function starts runs this code too, in a copy of the memory (fork)
/// or in the memory itself (vfork, before its exec), and its end is no end of the executor.
pid_t g_executor = -1;
/// False in a copy of the memory. A static place where there is no page to be had.
std::atomic<bool> g_no_page{true};
std::atomic<bool>* g_memory_is_executors = &g_no_page;
thread_local constinit WorkerState* t_worker = nullptr;
thread_local constinit const char* t_loading = nullptr;
thread_local sigset_t t_before_fork;

/// What tells a manager to end comes to its executors as well, where a batch system sends it to
/// every process of a step (Slurm) or a terminal to a whole group. It is the manager that ends
/// them, when their calls have: by its word, its death or SIGKILL.
constexpr std::array kManagersSignals{SIGTERM, SIGINT, SIGHUP};

std::span<WorkerState> g_workers;

/// A thread writes down what a crash leaves.
std::atomic<bool> g_crashing{false};

bool is_executor() noexcept {
  return g_control >= 0 && g_executor == ::getpid();
}

/// A signal that a child is sent at once waits until the child has its own dispositions.
void before_fork() noexcept {
  sigset_t managers;
  sigemptyset(&managers);
  for (const int number : kManagersSignals) sigaddset(&managers, number);
  ::pthread_sigmask(SIG_BLOCK, &managers, &t_before_fork);
}

void after_fork_in_executor() noexcept {
  ::pthread_sigmask(SIG_SETMASK, &t_before_fork, nullptr);
}

/// In a child that a function has forked: from here on nothing in it is the executor's.
void become_child_of_function() noexcept {
  g_control = -1;
  for (const int number : kManagersSignals) ::signal(number, SIG_DFL);
  if (t_worker != nullptr) t_worker->disown();
  ::pthread_sigmask(SIG_SETMASK, &t_before_fork, nullptr);
}

/// For a child that ends by exit() as a program does: what this handler does is to be done for the
/// executor alone.
void end_exit_of_child(int code) noexcept {
  // Forked: the rest of exit() is about the child's own copy.
  if (g_control < 0 || !g_memory_is_executors->load(std::memory_order_relaxed)) return;
  // A vfork whose exec failed. The handlers that would follow, and this one, are the executor's.
  register_exit_handlers();
  ::_exit(code);
}

void report(Status status, std::string_view text, ErrorKind kind = ErrorKind::kInternal) noexcept {
  wire::Dying dying;
  dying.status = static_cast<std::uint8_t>(status);
  dying.kind = static_cast<std::uint8_t>(kind);
  std::size_t i = 0;
  for (; i < text.size() && i + 1 < dying.text.size(); ++i) dying.text[i] = text[i];
  for (; i < dying.text.size(); ++i) dying.text[i] = '\0';
  const auto packet = wire::pack_message(wire::MessageType::kDying, dying);
  // A manager that does not read is no reason to stay.
  (void)::send(g_control, packet.data(), packet.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/// Tells the client of the call that runs on `worker`, and the manager.
void tell(const WorkerState& worker, Status status, std::string_view text) noexcept {
  void* channel = worker.channel.load(std::memory_order_relaxed);
  const DyingCall dying = worker.dying.load(std::memory_order_relaxed);
  if (channel != nullptr && dying != nullptr) {
    dying(channel, worker.sequence.load(std::memory_order_relaxed), status, text);
  }
  report(status, text);
}

/// Who is to blame for what happens on this thread now.
SignalSafeText& add_culprit(SignalSafeText& text, const FunctionEntry* function) noexcept {
  if (function != nullptr) return text.add("function '").add(function->name).add("'");
  if (t_loading != nullptr) return text.add("loading library '").add(t_loading).add("'");
  return text.add("a thread that a function started");
}

const FunctionEntry* running_function() noexcept {
  return t_worker == nullptr ? nullptr : t_worker->running.load(std::memory_order_relaxed);
}

/// Ends the call that runs on this thread, if one does; the process is to end next.
void tell_all(Status status, std::string_view text) noexcept {
  const FunctionEntry* function = running_function();
  if (function == nullptr) {
    report(status, text);
    return;
  }
  if (function->timeout != 0 && !t_worker->take_back()) wait_for_the_end();
  tell(*t_worker, status, text);
}

[[noreturn]] void die(Status status, std::string_view text, int exit_code) noexcept {
  tell_all(status, text);
  ::_exit(exit_code);
}

/// Everybody is told before the stack is looked at: that may take its time, or fail.
[[noreturn]] void die_of_signal(int number, std::string_view text, const void* context) noexcept {
  g_crashing.store(true, std::memory_order_relaxed);
  tell_all(Status::kCrashed, text);
  write_backtrace(text, context);
  end_with_core_file(number);
  ::_exit(128 + number);
}

void add_cause(SignalSafeText& text, int number, const siginfo_t& info,
               const void* context) noexcept {
  add_signal(text.add(" raised "), number);
  const auto address = reinterpret_cast<std::uintptr_t>(info.si_addr);
  if (info.si_code <= 0) {
    if (info.si_pid != ::getpid()) {
      text.add(", sent by process ").add_number(std::int64_t{info.si_pid});
    }
    return;
  }
  if (number == SIGSEGV || number == SIGBUS) {
    text.add(" at address ").add_address(address);
    if (t_worker != nullptr && t_worker->in_stack_guard(info.si_addr)) {
      text.add(": its stack is full");
    }
  } else if (number == SIGFPE || number == SIGILL) {
    text.add(info.si_code == FPE_INTDIV && number == SIGFPE ? ": integer division by zero" : "");
    text.add(" at instruction ").add_address(address);
  }
  SignalSafeText place;
  if (add_place(place, stopped_at(context))) text.add(", in ").add(place.view());
}

void on_fatal_signal(int number, siginfo_t* info, void* context) noexcept {
  // In the zygote, in a function's child and in the executor's own code, a fatal signal ends the
  // process as it would without this handler, so that it is seen as what it is.
  const bool executor = is_executor();
  const bool own_thread = t_worker != nullptr || ::gettid() == g_main_thread;
  const bool own_fault =
      !executor || (own_thread && running_function() == nullptr && t_loading == nullptr);
  SignalSafeText text;
  if (!own_fault) {
    add_cause(add_culprit(text, running_function()), number, *info, context);
    die_of_signal(number, text.view(), context);
  }
  if (executor) {
    add_cause(text.add("the executor itself"), number, *info, context);
    report(Status::kCrashed, text.view());
    write_backtrace(text.view(), context);
    end_with_core_file(number);
  }
  ::signal(number, SIG_DFL);
  ::raise(number);
}

/// Sent to a thread and not to the process: by itself (raise), or by what it did.
bool is_this_threads(int number, const siginfo_t& info) noexcept {
  return info.si_code == SI_TKILL || number == SIGXFSZ || number == SIGPIPE || number == SIGTRAP;
}

/// A signal to the whole process comes on any thread, the main one first. It is put down to the one
/// function that runs; where several do nobody can say whose it is, and their calls are lost.
void on_other_signal(int number, siginfo_t* info, void* context) noexcept {
  if (!is_executor()) {
    ::signal(number, SIG_DFL);
    ::raise(number);
    return;
  }
  WorkerState* running = nullptr;
  unsigned count = 0;
  for (WorkerState& worker : g_workers) {
    if (worker.running.load(std::memory_order_relaxed) == nullptr) continue;
    running = &worker;
    ++count;
  }
  // Nothing that the main thread does by itself has such an effect.
  const bool main_thread = ::gettid() == g_main_thread;
  const bool this_threads =
      is_this_threads(number, *info) && (!main_thread || t_loading != nullptr);
  const bool from_outside =
      (info->si_code == SI_USER || info->si_code == SI_QUEUE) && info->si_pid != ::getpid();
  if (!this_threads && !from_outside && count == 1 && running != t_worker) {
    ::syscall(SYS_tgkill, ::getpid(), running->thread.load(std::memory_order_relaxed), number);
    return;
  }
  SignalSafeText text;
  const bool other_thread = t_worker == nullptr && !main_thread;
  if (from_outside) {
    add_signal(text, number).add(" was sent by process ").add_number(std::int64_t{info->si_pid});
    report(Status::kLost, text.view());
    ::_exit(128 + number);
  }
  if (running_function() != nullptr && (this_threads || count == 1)) {
    add_cause(add_culprit(text, running_function()), number, *info, context);
  } else if (this_threads && (t_loading != nullptr || other_thread)) {
    add_cause(add_culprit(text, nullptr), number, *info, context);
  } else {
    add_signal(text, number)
        .add(" came while ")
        .add(count == 0 ? "no function" : "several functions");
    text.add(" ran");
    report(Status::kCrashed, text.view());
    ::_exit(128 + number);
  }
  die_of_signal(number, text.view(), context);
}

/// Ends the child of a function, as in any program, and nothing else. A fork's child has no
/// handler.
void on_managers_signal(int number) noexcept {
  if (g_executor < 0 || is_executor()) return;
  ::signal(number, SIG_DFL);
  ::raise(number);
}

void on_exit_called(int code, void*) noexcept {
  if (!is_executor()) {
    end_exit_of_child(code);
    return;
  }
  flush_output();
  SignalSafeText text;
  add_culprit(text, running_function())
      .add(" called exit(")
      .add_number(std::int64_t{code})
      .add(")");
  die(Status::kExited, text.view(), code);
}

void on_quick_exit_called() noexcept {
  if (!is_executor()) {
    end_exit_of_child(EXIT_FAILURE);
    return;
  }
  SignalSafeText text;
  add_culprit(text, running_function()).add(" called quick_exit");
  die(Status::kExited, text.view(), EXIT_FAILURE);
}

}  // namespace

void flush_output() noexcept {
  if (::ftrylockfile(stdout) != 0) return;
  ::fflush_unlocked(stdout);
  ::funlockfile(stdout);
}

void leave_the_end_to_a_crash() noexcept {
  if (g_crashing.load(std::memory_order_relaxed)) wait_for_the_end();
}

void install_fatal_handlers() {
  // Caught, not ignored: what a function starts would inherit that, and heed no SIGTERM. The main
  // thread takes them, so that no function's system call is interrupted.
  struct sigaction heard {};
  heard.sa_handler = &on_managers_signal;
  heard.sa_flags = SA_RESTART;
  for (const int number : kManagersSignals) ::sigaction(number, &heard, nullptr);
  const stack_t stack{g_main_handler_stack.data(), 0, g_main_handler_stack.size()};
  ::sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_sigaction = &on_fatal_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (const SignalText& known : kFaultSignals) sigaddset(&action.sa_mask, known.number);
  for (const SignalText& known : kFaultSignals) ::sigaction(known.number, &action, nullptr);
  action.sa_sigaction = &on_other_signal;
  action.sa_flags |= SA_RESTART;
  for (const SignalText& known : kOtherSignals) ::sigaction(known.number, &action, nullptr);
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) {
    ::sigaction(number, &action, nullptr);
  }
}

void blame_workers(std::span<WorkerState> workers) noexcept {
  g_workers = workers;
}

void arm_fatal_reports(int control_socket) noexcept {
  g_main_thread = ::gettid();
  g_executor = ::getpid();
  g_control = control_socket;
  if (void* page = base::map_unforked(sizeof(std::atomic<bool>)); page != nullptr) {
    g_memory_is_executors = new (page) std::atomic<bool>(true);
  }
  ::pthread_atfork(&before_fork, &after_fork_in_executor, &become_child_of_function);
}

void register_exit_handlers() noexcept {
  ::on_exit(&on_exit_called, nullptr);
  ::at_quick_exit(&on_quick_exit_called);
}

void set_this_worker(WorkerState* worker) noexcept {
  t_worker = worker;
}

LoadingGuard::LoadingGuard(const char* library) noexcept {
  t_loading = library;
}
LoadingGuard::~LoadingGuard() {
  t_loading = nullptr;
}

void die_before_start(std::string_view why, ErrorKind kind) noexcept {
  SignalSafeText text;
  text.add("the executor does not start: ").add(why);
  report(Status::kLost, text.view(), kind);
  ::_exit(EXIT_FAILURE);
}

void die_by_thread_end(WorkerState& worker) noexcept {
  if (!is_executor()) ::_exit(EXIT_SUCCESS);  // a child's only thread: pthread_exit ends it well
  SignalSafeText text;
  add_culprit(text, worker.running.load(std::memory_order_relaxed))
      .add(" ended its thread (pthread_exit or cancellation)");
  die(Status::kExited, text.view(), EXIT_FAILURE);
}

void die_by_timeout(WorkerState& worker, const FunctionEntry& function) noexcept {
  SignalSafeText text;
  add_culprit(text, &function)
      .add(" ran longer than its timeout of ")
      .add_number(function.timeout_ms)
      .add(" ms");
  tell(worker, Status::kTimedOut, text.view());
  ::_exit(EXIT_FAILURE);
}

void wait_for_the_end() noexcept {
  if (!is_executor()) {
    std::fputs(
        "sublet-executor: a child that a function forked has returned from the function; "
        "it ends here: the call is its parent's to end\n",
        stderr);
    ::_exit(EXIT_FAILURE);
  }
  for (;;) ::pause();
}

}  // namespace sublet::executor
