#include <executor/signal_text.hpp>

#include <csignal>

namespace sublet::executor {

constexpr std::array<SignalText, 6> kFaultSignals{{
    {SIGSEGV, "SIGSEGV", "invalid memory reference"},
    {SIGBUS, "SIGBUS", "memory that cannot be reached"},
    {SIGFPE, "SIGFPE", "arithmetic error"},
    {SIGILL, "SIGILL", "illegal instruction"},
    {SIGABRT, "SIGABRT", "abort"},
    {SIGSYS, "SIGSYS", "forbidden system call"},
}};

constexpr std::array<SignalText, 13> kOtherSignals{{
    {SIGXFSZ, "SIGXFSZ", "the file size limit, ulimit -f"},
    {SIGXCPU, "SIGXCPU", "the limit of processor time, ulimit -t"},
    {SIGPIPE, "SIGPIPE", "writing to a pipe or socket that nobody reads"},
    {SIGALRM, "SIGALRM", "alarm clock"},
    {SIGVTALRM, "SIGVTALRM", "timer of processor time"},
    {SIGPROF, "SIGPROF", "timer of a profiler"},
    {SIGTRAP, "SIGTRAP", "trap of a debugger"},
    {SIGUSR1, "SIGUSR1", "user's signal"},
    {SIGUSR2, "SIGUSR2", "user's signal"},
    {SIGQUIT, "SIGQUIT", "quit"},
    {SIGIO, "SIGIO", "input or output is possible"},
    {SIGSTKFLT, "SIGSTKFLT", "stack fault"},
    {SIGPWR, "SIGPWR", "power failure"},
}};

SignalSafeText& add_signal(SignalSafeText& text, int number) noexcept {
  const auto add_known = [&](const auto& list) {
    for (const SignalText& known : list) {
      if (known.number != number) continue;
      text.add(known.name).add(" (").add(known.meaning).add(")");
      return true;
    }
    return false;
  };
  if (!add_known(kFaultSignals) && !add_known(kOtherSignals)) {
    text.add("signal ").add_number(std::int64_t{number});
  }
  return text;
}

}  // namespace sublet::executor
