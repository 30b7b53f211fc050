#include <executor/backtrace.hpp>
#include <executor/core_file.hpp>
#include <executor/signal_safe_text.hpp>
#include <wire/executor_protocol.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

namespace sublet::executor {
namespace {

std::array<char, wire::kMaxDirectory + 1> g_directory{};

}  // namespace

void choose_core_directory(std::string_view directory) noexcept {
  rlimit limit{};
  if (!directory.empty()) {
    ::getrlimit(RLIMIT_CORE, &limit);
    limit.rlim_cur = limit.rlim_max;
  }
  (void)::setrlimit(RLIMIT_CORE, &limit);  // to lower it is always allowed
  directory.substr(0, g_directory.size() - 1).copy(g_directory.data(), g_directory.size() - 1);
}

void end_with_core_file(int number) noexcept {
  if (g_directory.front() == '\0') return;
  if (::chdir(g_directory.data()) != 0 || ::access(".", W_OK | X_OK) != 0) {
    SignalSafeText text;
    text.add("no core file: this executor's user cannot write to ").add(g_directory.data());
    write_error_line(text.view());
    return;
  }
  ::signal(number, SIG_DFL);
  sigset_t caught;
  sigemptyset(&caught);
  sigaddset(&caught, number);
  ::pthread_sigmask(SIG_UNBLOCK, &caught, nullptr);
  ::raise(number);
}

}  // namespace sublet::executor
