// What functions do with children, and what they find around them.
#include <sublet/function.hpp>

#include <alloca.h>
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cfenv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

extern char** environ;

namespace {

std::uint64_t affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  ::sched_getaffinity(0, sizeof(set), &set);
  std::uint64_t mask = 0;
  for (int i = 0; i < 64; ++i) mask |= std::uint64_t{CPU_ISSET(i, &set) ? 1u : 0u} << i;
  return mask;
}

/// A wait status: the code of an exit, 1000 more than the number of a signal.
std::uint64_t outcome(pid_t pid) {
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) return 9999;
  return static_cast<std::uint64_t>(WIFEXITED(status) ? WEXITSTATUS(status)
                                                      : 1000 + WTERMSIG(status));
}

/// As fork(), without what the C library does for one.
pid_t clone_process() {
  return static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

template <class Child>
std::uint64_t in_child(Child child) {
  const pid_t pid = ::fork();
  if (pid == 0) child();
  return outcome(pid);
}

bool g_in_cloned_child = false;

std::uint64_t g_affinity_of_loader;
std::uint64_t g_affinity_of_loaders_thread;
__attribute__((constructor)) void start_a_thread() {
  // Older than the executor's own handler, so it runs after that one.
  std::atexit([] {
    if (g_in_cloned_child) ::_exit(7);
  });
  g_affinity_of_loader = affinity();
  std::thread([] { g_affinity_of_loaders_thread = affinity(); }).join();
}

}  // namespace

// --- Children ---

SUBLET_FUNCTION(child_execs_in_vain, const std::uint8_t&, std::uint64_t& out) {
  out = in_child([] {
    ::execlp("/there/is/none", "none", nullptr);
    std::exit(127);
  });
}
SUBLET_FUNCTION(child_quits, const std::uint8_t&, std::uint64_t& out) {
  out = in_child([] { std::quick_exit(5); });
}
SUBLET_FUNCTION(child_aborts, const std::uint8_t&, std::uint64_t& out) {
  out = in_child([] { std::abort(); });
}
SUBLET_FUNCTION(child_crashes, const std::uint8_t&, std::uint64_t& out) {
  out = in_child([] { *reinterpret_cast<volatile int*>(0x1234) = 1; });
}
SUBLET_FUNCTION(child_ends_its_thread, const std::uint8_t&, std::uint64_t& out) {
  out = in_child([] { ::pthread_exit(nullptr); });
}
SUBLET_FUNCTION(vforked_child_execs_in_vain, const std::uint8_t&, std::uint64_t& out) {
  const pid_t pid = ::vfork();
  if (pid == 0) {
    ::execlp("/there/is/none", "none", nullptr);
    std::exit(126);
  }
  out = outcome(pid);
}
SUBLET_FUNCTION(child_returns, const std::uint8_t&, std::uint64_t& out) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    out = 4711;
    return;
  }
  out = outcome(pid);
}
SUBLET_FUNCTION(child_throws, const std::uint8_t&, std::uint64_t& out) {
  const pid_t pid = ::fork();
  if (pid == 0) throw std::runtime_error("in the child");
  out = outcome(pid);
}
SUBLET_FUNCTION(child_of_thread_exits, const std::uint8_t&, std::uint64_t& out) {
  std::thread([&out] { out = in_child([] { std::exit(9); }); }).join();
}
SUBLET_FUNCTION(terminates_spawned_child, const std::uint8_t&, std::uint64_t& out) {
  char* words[] = {const_cast<char*>("sleep"), const_cast<char*>("60"), nullptr};
  pid_t pid = -1;
  if (::posix_spawnp(&pid, "sleep", nullptr, nullptr, words, environ) != 0) return;
  ::kill(pid, SIGTERM);
  out = outcome(pid);
}
SUBLET_FUNCTION(interrupts_forked_child, const std::uint8_t&, std::uint64_t& out) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    for (;;) ::pause();
  }
  ::kill(pid, SIGINT);
  out = outcome(pid);
}
SUBLET_FUNCTION(cloned_child_returns, const std::uint8_t&, std::uint64_t& out) {
  const pid_t pid = clone_process();
  if (pid == 0) {
    out = 4711;
    return;
  }
  out = outcome(pid);
}
SUBLET_FUNCTION(cloned_child_throws, const std::uint8_t&, std::uint64_t& out) {
  const pid_t pid = clone_process();
  if (pid == 0) throw std::runtime_error("in the child");
  out = outcome(pid);
}
SUBLET_FUNCTION(cloned_child_crashes, const std::uint8_t&, std::uint64_t& out) {
  const pid_t pid = clone_process();
  if (pid == 0) *reinterpret_cast<volatile int*>(0x1234) = 1;
  out = outcome(pid);
}
SUBLET_FUNCTION(cloned_child_runs_exit_handlers, const std::uint8_t&, std::uint64_t& out) {
  const pid_t pid = clone_process();
  if (pid == 0) {
    g_in_cloned_child = true;
    std::exit(5);
  }
  out = outcome(pid);
}
SUBLET_FUNCTION(terminates_cloned_child, const std::uint8_t&, std::uint64_t& out) {
  const pid_t pid = clone_process();
  if (pid == 0) {
    for (;;) ::pause();
  }
  ::kill(pid, SIGTERM);
  out = outcome(pid);
}
SUBLET_FUNCTION(exits, const std::int32_t& code, std::uint8_t&) {
  std::exit(code);
}

// --- What is around ---

/// The value of a variable; "-" when there is none.
SUBLET_CALL_FUNCTION(variable, sublet::FunctionCall& call) {
  const auto name = call.input<char>();
  const char* value = std::getenv(std::string(name.begin(), name.end()).c_str());
  const std::string text = value == nullptr ? "-" : value;
  std::memcpy(call.output<char>(text.size()).data(), text.data(), text.size());
}

/// A line of /proc/self/status: what follows its name.
SUBLET_CALL_FUNCTION(status_line, sublet::FunctionCall& call) {
  const auto in = call.input<char>();
  const std::string name(in.begin(), in.end());
  std::ifstream status("/proc/thread-self/status");
  std::string line;
  while (std::getline(status, line) && line.rfind(name + ":\t", 0) != 0) {
  }
  const std::string text = line.substr(std::min(line.size(), name.size() + 2));
  std::memcpy(call.output<char>(text.size()).data(), text.data(), text.size());
}

SUBLET_CALL_FUNCTION(working_directory, sublet::FunctionCall& call) {
  char* here = ::getcwd(nullptr, 0);
  const std::string text = here == nullptr ? "none" : here;
  std::free(here);
  std::memcpy(call.output<char>(text.size()).data(), text.data(), text.size());
}

/// Of all threads of the process, and of those that loading this library has started.
SUBLET_FUNCTION(all_affinities, const std::uint8_t&, std::uint64_t& out) {
  out = g_affinity_of_loader | g_affinity_of_loaders_thread;
  DIR* tasks = ::opendir("/proc/self/task");
  while (const dirent* task = ::readdir(tasks)) {
    if (task->d_name[0] == '.') continue;
    cpu_set_t set;
    CPU_ZERO(&set);
    ::sched_getaffinity(std::atoi(task->d_name), sizeof(set), &set);
    for (int i = 0; i < 64; ++i) out |= std::uint64_t{CPU_ISSET(i, &set) ? 1u : 0u} << i;
  }
  ::closedir(tasks);
}

SUBLET_FUNCTION(read_input, const std::uint8_t&, std::int64_t& out) {
  char byte;
  out = ::read(STDIN_FILENO, &byte, 1);
}

SUBLET_FUNCTION(print_line, const std::uint32_t& number, std::uint8_t&) {
  std::printf("printed %u\n", number);
}
SUBLET_FUNCTION(print_part_of_line, const std::uint32_t& number, std::uint8_t&) {
  std::printf("part %u", number);
}

SUBLET_FUNCTION(rounding, const std::uint8_t&, std::int32_t& out) {
  out = std::fegetround();
}

namespace {
__attribute__((noinline)) void touch_frame(std::size_t bytes) {
  auto* low = static_cast<volatile char*>(alloca(bytes));
  for (std::size_t i = 0; i < 4096; ++i) low[i] = 1;
}
}  // namespace
SUBLET_FUNCTION(large_frame, const std::uint64_t& bytes, std::uint64_t& out) {
  touch_frame(bytes);
  out = bytes;
}
