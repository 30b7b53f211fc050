// What the executor's tests call: functions of both forms, well behaved and not.
#include <sublet/function.hpp>

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>
#include <unwind.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

SUBLET_EXPORT int a_variable;
int a_variable = 1;

#define RFAAS(name)                                                                    \
  SUBLET_EXPORT std::uint32_t name(void* args, std::uint32_t size, void* res);         \
  std::uint32_t name([[maybe_unused]] void* args, [[maybe_unused]] std::uint32_t size, \
                     [[maybe_unused]] void* res)

namespace {

template <class T>
T read(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <class T>
std::uint32_t give(void* res, const T& value) {
  std::memcpy(res, &value, sizeof(T));
  return sizeof(T);
}

void spin_ms(std::uint32_t ms) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
  while (std::chrono::steady_clock::now() < end) {
  }
}

}  // namespace

// --- Well behaved ---

RFAAS(echo) {
  std::memcpy(res, args, size);
  return size;
}

RFAAS(nothing) {
  return 0;
}

struct Pair {
  std::int64_t a, b;
};
SUBLET_FUNCTION(sum, const Pair& pair, std::int64_t& result) {
  result = pair.a + pair.b;
}

SUBLET_CALL_FUNCTION(reverse, sublet::FunctionCall& call) {
  const auto in = call.input<char>();
  const auto out = call.output<char>(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) out[i] = in[in.size() - 1 - i];
}

RFAAS(spin) {
  spin_ms(read<std::uint32_t>(args));
  return 0;
}

RFAAS(sleep_long) {
  for (;;) ::pause();
}

struct Surroundings {
  std::uint32_t uid, gid, no_new_privs, open_files, cores;
  std::int32_t core;
  std::uint64_t core_dump_bytes, data_bytes;
  std::int32_t oom_score;
};
RFAAS(surroundings) {
  Surroundings s{};
  s.uid = ::getuid();
  s.gid = ::getgid();
  s.no_new_privs = static_cast<std::uint32_t>(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  if (DIR* fds = ::opendir("/proc/self/fd")) {
    while (::readdir(fds) != nullptr) ++s.open_files;
    ::closedir(fds);
    s.open_files -= 3;  // ".", ".." and the directory itself
  }
  cpu_set_t set;
  ::sched_getaffinity(0, sizeof(set), &set);
  s.cores = static_cast<std::uint32_t>(CPU_COUNT(&set));
  s.core = ::sched_getcpu();
  rlimit limit{};
  ::getrlimit(RLIMIT_CORE, &limit);
  s.core_dump_bytes = limit.rlim_cur;
  ::getrlimit(RLIMIT_DATA, &limit);
  s.data_bytes = limit.rlim_cur;
  return give(res, s);
}

// --- Failing ---

SUBLET_CALL_FUNCTION(fail_with_text, sublet::FunctionCall&) {
  throw sublet::FunctionError("the matrix is singular", 7);
}

SUBLET_EXPORT const sublet_function_info sublet_function_info_fail_silently;
const sublet_function_info sublet_function_info_fail_silently{SUBLET_FUNCTION_ABI_VERSION, 0, 0, 0};
SUBLET_EXPORT std::int32_t fail_silently(sublet_call*);
std::int32_t fail_silently(sublet_call*) {
  return 42;
}

/// Writes past the zero that its text should have.
SUBLET_EXPORT const sublet_function_info sublet_function_info_fail_loudly;
const sublet_function_info sublet_function_info_fail_loudly{SUBLET_FUNCTION_ABI_VERSION, 0, 0, 0};
SUBLET_EXPORT std::int32_t fail_loudly(sublet_call* call);
std::int32_t fail_loudly(sublet_call* call) {
  std::memset(call->error_text, 'x', call->error_capacity);
  return -7;
}

/// Says that it wrote more than there is room for.
SUBLET_EXPORT const sublet_function_info sublet_function_info_claim_too_much;
const sublet_function_info sublet_function_info_claim_too_much{SUBLET_FUNCTION_ABI_VERSION, 0, 0,
                                                               0};
SUBLET_EXPORT std::int32_t claim_too_much(sublet_call* call);
std::int32_t claim_too_much(sublet_call* call) {
  call->output_size = call->output_capacity + 1;
  return 0;
}

RFAAS(throw_runtime_error) {
  throw std::runtime_error("no luck");
}
RFAAS(throw_int) {
  throw 5;
}
RFAAS(throw_text) {
  throw "only a text";
}

/// Writes as many bytes as its input says, whatever room there is.
RFAAS(write_much) {
  const auto count = read<std::uint32_t>(args);
  std::memset(res, 'y', count);
  return count;
}

/// Allocates as many MiB as its input says, and uses them.
RFAAS(allocate) {
  const std::size_t bytes = std::size_t{read<std::uint32_t>(args)} << 20;
  const std::unique_ptr<volatile char[]> memory(new volatile char[bytes]);
  for (std::size_t i = 0; i < bytes; i += 4096) memory[i] = 1;
  return 0;
}

// --- Fatal ---

RFAAS(crash_segv) {
  *reinterpret_cast<volatile int*>(0x1234) = 1;
  return 0;
}

RFAAS(crash_fpe) {
  volatile int zero = 0;
  volatile int number = 7;
  volatile int result = number / zero;
  return static_cast<std::uint32_t>(result);
}

RFAAS(crash_without_stack) {
#if defined(__x86_64__)
  asm volatile("xor %%esp, %%esp\n\tpush %%rax" ::: "memory");
#endif
  return 0;
}

RFAAS(crash_abort) {
  std::abort();
}

RFAAS(crash_terminate) {
  const auto barrier = [](void (*thrower)()) noexcept { thrower(); };
  barrier([] { throw std::runtime_error("through noexcept"); });
  return 0;
}

namespace {
__attribute__((noinline)) std::uint32_t recurse(volatile char* outer, std::uint32_t depth) {
  volatile char frame[512];
  frame[0] = outer[0];
  return recurse(frame, depth + 1) + static_cast<std::uint32_t>(frame[0]);
}
}  // namespace
RFAAS(crash_stack) {
  volatile char start[1] = {};
  return recurse(start, 0);
}

RFAAS(crash_in_thread) {
  std::thread([] { *reinterpret_cast<volatile int*>(0x5678) = 1; }).join();
  return 0;
}

RFAAS(call_exit) {
  std::exit(static_cast<int>(read<std::uint32_t>(args)));
}
RFAAS(call_quick_exit) {
  std::quick_exit(3);
}
RFAAS(call_pthread_exit) {
  ::pthread_exit(nullptr);
}

/// What it registered must not run before the executor has reported the exit.
RFAAS(exit_with_bad_handler) {
  std::atexit([] { *reinterpret_cast<volatile int*>(0x1) = 1; });
  return 0;
}

/// Leaves a process behind that is in no group of the executor; its id is the result.
RFAAS(leave_process) {
  int ends[2];
  if (::pipe(ends) != 0) return 0;
  const pid_t middle = ::fork();
  if (middle == 0) {
    ::setsid();
    const pid_t pid = ::fork();
    if (pid == 0) {
      for (;;) ::pause();
    }
    (void)!::write(ends[1], &pid, sizeof(pid));
    ::_exit(0);
  }
  std::int32_t pid = 0;
  (void)!::read(ends[0], &pid, sizeof(pid));
  ::close(ends[0]);
  ::close(ends[1]);
  return give(res, pid);
}

// --- Other languages ---

// An exception as another language's run-time library throws it. What lies before it in memory is
// not C++'s header of exceptions, and here is nothing at all.
RFAAS(throw_foreign) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* memory = ::mmap(nullptr, 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto* exception =
      reinterpret_cast<_Unwind_Exception*>(static_cast<unsigned char*>(memory) + page);
  ::mprotect(exception, page, PROT_READ | PROT_WRITE);
  std::memcpy(&exception->exception_class, "MOZ\0RUST", sizeof(exception->exception_class));
  _Unwind_RaiseException(exception);
  return 0;
}

// --- Signals ---

RFAAS(raise_signal) {
  ::raise(read<int>(args));
  return 0;
}

// To the process, and not to this thread.
RFAAS(signal_process) {
  ::kill(::getpid(), read<int>(args));
  for (;;) ::pause();
}

RFAAS(set_alarm) {
  const itimerval soon{{0, 0}, {0, 1000}};
  ::setitimer(ITIMER_REAL, &soon, nullptr);
  for (;;) ::pause();
}

RFAAS(write_beyond_limit) {
  const rlimit limit{4096, 4096};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  return static_cast<std::uint32_t>(::ftruncate(::memfd_create("file", 0), 8192));
}
