// Looks at the worker's thread from inside: which system calls and allocations happen between
// calls.
#include <sublet/function.hpp>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>

extern "C" __attribute__((weak)) std::uint64_t sublet_test_allocations();

namespace {

// Lock-free, so a handler may count; all by one thread.
std::atomic<std::uint64_t> g_waits;  // sched_yield, futex, membarrier: how a worker waits or wakes
std::atomic<std::uint64_t> g_others;
std::atomic<std::uint64_t> g_last_other;

/// Each system call of the thread comes here instead of being made; it seems to succeed.
void on_system_call(int, siginfo_t* info, void* context) {
  const long number = info->si_syscall;
  if (number == SYS_sched_yield || number == SYS_futex || number == SYS_membarrier) {
    g_waits.fetch_add(1, std::memory_order_relaxed);
  } else {
    g_others.fetch_add(1, std::memory_order_relaxed);
    g_last_other.store(static_cast<std::uint64_t>(number), std::memory_order_relaxed);
  }
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  registers.gregs[REG_RAX] = 0;
#elif defined(__aarch64__)
  registers.regs[0] = 0;
#endif
}

}  // namespace

SUBLET_EXPORT std::uint32_t hot_nothing(void*, std::uint32_t, void*);
std::uint32_t hot_nothing(void*, std::uint32_t, void*) {
  return 0;
}

/// From here on this thread's system calls are counted. The result is 0, or errno.
SUBLET_EXPORT std::uint32_t hot_count_system_calls(void*, std::uint32_t, void* res);
std::uint32_t hot_count_system_calls(void*, std::uint32_t, void* res) {
  struct sigaction action {};
  action.sa_sigaction = &on_system_call;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSYS, &action, nullptr);
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
  };
  const sock_fprog program{sizeof(code) / sizeof(code[0]), code};
  const std::int32_t result =
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0 ? 0 : errno;
  std::memcpy(res, &result, sizeof(result));
  return sizeof(result);
}

struct Seen {
  std::uint64_t waits, others, last_other, allocations, can_count_allocations;
};
SUBLET_EXPORT std::uint32_t hot_seen(void*, std::uint32_t, void* res);
std::uint32_t hot_seen(void*, std::uint32_t, void* res) {
  const Seen seen{g_waits.load(), g_others.load(), g_last_other.load(),
                  sublet_test_allocations != nullptr ? sublet_test_allocations() : 0,
                  sublet_test_allocations != nullptr ? 1u : 0u};
  std::memcpy(res, &seen, sizeof(seen));
  return sizeof(seen);
}

/// One system call and one allocation, to see that they are seen.
SUBLET_EXPORT std::uint32_t hot_misbehave(void*, std::uint32_t, void*);
std::uint32_t hot_misbehave(void*, std::uint32_t, void*) {
  ::syscall(SYS_getppid);
  volatile char* memory = new char[100];
  memory[0] = 1;
  delete[] memory;
  return 0;
}
