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
#include <type_traits>

extern "C" __attribute__((weak)) std::uint64_t sublet_test_allocations();

namespace {

// Lock-free, so a handler may count; all by one thread.
std::atomic<std::uint64_t> g_waits;  // sched_yield, futex, membarrier: how a worker waits or wakes
std::atomic<std::uint64_t> g_others;
std::atomic<std::uint64_t> g_last_other;

/// In the sixth argument, which none of the calls for waiting uses, it lets a call through the
/// filter.
constexpr std::uint32_t kLetThrough = 0x5b1e7000;

/// Each system call of the thread comes here instead of being made. Those for waiting are made all
/// the same, so that the worker behaves as it does without being watched; the others seem to
/// succeed.
void on_system_call(int, siginfo_t* info, void* context) {
  const long number = info->si_syscall;
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  auto& result = registers.gregs[REG_RAX];
  const auto argument = [&](int i) {
    constexpr int kOrder[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8};
    return registers.gregs[kOrder[i]];
  };
#elif defined(__aarch64__)
  auto& result = registers.regs[0];
  const auto argument = [&](int i) { return registers.regs[i]; };
#endif
  result = 0;
  if (number == SYS_sched_yield || number == SYS_futex || number == SYS_membarrier) {
    g_waits.fetch_add(1, std::memory_order_relaxed);
    const int saved = errno;
    const long returned = ::syscall(number, argument(0), argument(1), argument(2), argument(3),
                                    argument(4), kLetThrough);
    result =
        static_cast<std::remove_reference_t<decltype(result)>>(returned < 0 ? -errno : returned);
    errno = saved;
  } else {
    g_others.fetch_add(1, std::memory_order_relaxed);
    g_last_other.store(static_cast<std::uint64_t>(number), std::memory_order_relaxed);
  }
}

}  // namespace

SUBLET_EXPORT std::uint32_t hot_nothing(void*, std::uint32_t, void*);
std::uint32_t hot_nothing(void*, std::uint32_t, void*) {
  return 0;
}

/// From here on this thread's system calls are counted. The result is 0, or errno.
SUBLET_EXPORT std::uint32_t hot_count_system_calls(void*, std::uint32_t, void* res);
std::uint32_t hot_count_system_calls(void*, std::uint32_t, void* res) {
  // The thread's first allocation sets up an arena; that is not what is counted.
  delete[] new volatile char[100];
  struct sigaction action {};
  action.sa_sigaction = &on_system_call;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSYS, &action, nullptr);
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
               offsetof(seccomp_data, args[5])),  // little-endian: low word
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kLetThrough, 0, 1),
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
