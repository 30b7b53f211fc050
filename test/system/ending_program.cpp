// A program that ends in one of many ways while it has a lease: the test's child.

#include <sublet/sublet.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;

sublet::Session g_session;
sublet::Lease g_lease;
sublet::Function g_function;
sublet::Call g_call;

constexpr int kExitCode = 3;

/// Longer than the test waits: nothing that ends a program may wait for the end of a call.
constexpr std::uint32_t kVeryLongMs = 600'000;

void take_lease(std::chrono::seconds duration) {
  g_session = sublet::Session::open().value_or_throw();
  g_lease = g_session.lease({.cores = 1, .duration = duration, .replace = false}).value_or_throw();
}

void hold() {
  take_lease(10min);
  g_function = g_lease.function(CLIENT_FUNCTIONS, "spin_ms").value_or_throw();
}

/// Does not return.
[[noreturn]] void wait_for_callback() {
  for (;;) ::pause();
}

int exit_in_callback(const std::string& callback, bool is_static) {
  take_lease(2s);  // and nothing more before the callback is set: the lease is short
  auto lease = is_static ? sublet::Lease() : std::move(g_lease);
  sublet::Lease& told = is_static ? g_lease : lease;
  if (callback == "lost") {
    told.on_lost([](const std::string&) { std::exit(kExitCode); });
  } else {
    told.on_ending([](const sublet::EndingNotice&) { std::exit(kExitCode); });
  }
  wait_for_callback();
}

/// The callback ends what it is a callback of.
int drop_in_callback() {
  take_lease(2s);
  static std::atomic<bool> dropped{false};
  g_lease.on_lost([](const std::string&) {
    g_lease = {};
    g_session = {};
    dropped = true;
    dropped.notify_one();
  });
  dropped.wait(false);
  return kExitCode;
}

/// Calls `stay`, which never ends, with the name of a FIFO; a thread ends the program once the
/// function has begun.
class EndOnceItHasBegun {
 public:
  EndOnceItHasBegun() {
    hold();
    stay_ = g_lease.function(CLIENT_FUNCTIONS, "stay").value_or_throw();
    path_ = "/tmp/sublet-ending-" + std::to_string(::getpid());
    if (::mkfifo(path_.c_str(), 0666) != 0) throw std::runtime_error("no FIFO at " + path_);
    ::chmod(path_.c_str(), 0666);  // whatever the umask: executors may have a user of their own
    std::thread([path = path_] {
      ::close(::open(path.c_str(), O_RDONLY));  // waits for the function to open it
      ::unlink(path.c_str());
      std::exit(kExitCode);
    }).detach();
  }
  void call() { (void)stay_.call(path_.data(), path_.size(), nullptr, 0); }
  void call_and_wait() {
    g_call = stay_.async(path_.data(), path_.size(), nullptr, 0);
    (void)g_call.wait();
  }

 private:
  sublet::Function stay_;
  std::string path_;
};

int exit_in_thread_during_call() {
  for (EndOnceItHasBegun program;;) program.call();
}

int exit_with_call_under_way() {
  hold();
  static const std::uint32_t ms = kVeryLongMs;
  static std::uint32_t out;
  g_call = g_function.async(&ms, sizeof(ms), &out, sizeof(out));
  return kExitCode;
}

int exit_in_thread_during_wait() {
  EndOnceItHasBegun().call_and_wait();
  return 1;
}

int exit_in_child() {
  hold();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    std::exit(kExitCode);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  const std::uint32_t ms = 1;
  std::uint32_t out = 0;
  if (!g_function.call(&ms, sizeof(ms), &out, sizeof(out)).ok()) return 1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

/// An application that knows nothing of a child of ours waits for all that it has.
int wait_for_all_children() {
  hold();
  while (::wait(nullptr) > 0) {
  }
  return kExitCode;
}

int keep_sigpipe() {
  ::signal(SIGPIPE, [](int) {});
  struct sigaction before {};
  ::sigaction(SIGPIPE, nullptr, &before);
  hold();
  struct sigaction after {};
  ::sigaction(SIGPIPE, nullptr, &after);
  return before.sa_handler == after.sa_handler ? kExitCode : 1;
}

int keep_no_descriptor() {
  int ends[2];
  if (::pipe(ends) != 0) return 1;  // without close-on-exec, as most programs make them
  hold();
  ::close(ends[1]);
  char byte;
  ::alarm(10);
  return ::read(ends[0], &byte, 1) == 0 ? kExitCode : 2;
}

/// Leases, calls and gives back, for some seconds of its own time.
int work() {
  auto session = sublet::Session::open().value_or_throw();
  for (int i = 0; i < 40; ++i) {
    auto lease = session.lease({.cores = 1, .replace = false}).value_or_throw();
    auto spin = lease.function(CLIENT_FUNCTIONS, "spin_ms", {.timeout = 2s}).value_or_throw();
    for (const std::uint32_t ms : {1u, 20u, 40u}) {
      std::uint32_t out = 0;
      if (!spin.call(&ms, sizeof(ms), &out, sizeof(out)).ok()) {
        throw std::runtime_error(spin.last_error());
      }
    }
  }
  return kExitCode;
}

int run(const std::string& mode) {
  if (mode == "lost-static") return exit_in_callback("lost", true);
  if (mode == "lost-local") return exit_in_callback("lost", false);
  if (mode == "ending-static") return exit_in_callback("ending", true);
  if (mode == "ending-local") return exit_in_callback("ending", false);
  if (mode == "drop-in-callback") return drop_in_callback();
  if (mode == "thread") return exit_in_thread_during_call();
  if (mode == "thread-in-wait") return exit_in_thread_during_wait();
  if (mode == "call-under-way") return exit_with_call_under_way();
  if (mode == "child") return exit_in_child();
  if (mode == "wait-for-all") return wait_for_all_children();
  if (mode == "sigpipe") return keep_sigpipe();
  if (mode == "descriptors") return keep_no_descriptor();
  if (mode == "work") return work();
  if (mode == "ignored-children") {
    ::signal(SIGCHLD, SIG_IGN);
    hold();
    return kExitCode;
  }
  if (mode == "lease-all") {
    auto session = sublet::Session::open().value_or_throw();
    const auto lease = session.lease({.cores = 16}).value_or_throw();
    return kExitCode;
  }
  std::fprintf(stderr, "there is no mode '%s'\n", mode.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc == 2 ? argv[1] : "");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
