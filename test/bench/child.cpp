#include "child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>

namespace sublet::test {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

sigset_t child_signal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  return set;
}

/// Waits until a child has ended since it was last looked for; false at the deadline. SIGCHLD is
/// blocked, so none is missed between a look and this.
bool wait_for_child(Clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - Clock::now()).count();
  if (left <= 0) return false;
  const sigset_t set = child_signal();
  const timespec limit{static_cast<time_t>(left / 1'000'000'000), left % 1'000'000'000};
  return ::sigtimedwait(&set, nullptr, &limit) == SIGCHLD || errno == EINTR;
}

/// This process's children, reaped or not.
std::vector<pid_t> children() {
  std::ifstream file("/proc/self/task/" + std::to_string(::getpid()) + "/children");
  return {std::istream_iterator<pid_t>(file), std::istream_iterator<pid_t>()};
}

std::string content(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  off_t at = 0;
  for (ssize_t n; (n = ::pread(fd, buffer.data(), buffer.size(), at)) > 0; at += n) {
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return text;
}

}  // namespace

Child::Child(const std::vector<std::string>& words, const Options& options)
    : output_(::memfd_create("output", MFD_CLOEXEC)),
      errors_(::memfd_create("errors", MFD_CLOEXEC)) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const sigset_t set = child_signal();
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  if (options.terminal) {
    terminal_.reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    ::grantpt(terminal_.get());
    ::unlockpt(terminal_.get());
    errors_.reset(::open(::ptsname(terminal_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  }
  pid_ = ::fork();
  if (pid_ == 0) run(words, options);
}

void Child::run(const std::vector<std::string>& words, const Options& options) const {
  const sigset_t set = child_signal();
  ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
  std::vector<char*> argv;
  for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  // The user's own settings are not what is tested.
  for (const char* name : {"SUBLET_MANAGER", "SUBLET_CONFIG", "SUBLET_NODE_NAME"}) ::unsetenv(name);
  for (const auto& variable : options.environment) ::putenv(const_cast<char*>(variable.c_str()));
  ::dup2(output_.get(), STDOUT_FILENO);
  ::dup2(errors_.get(), STDERR_FILENO);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

Child::~Child() {
  const auto deadline = Clock::now() + 10s;
  for (auto left = children(); !left.empty() && Clock::now() < deadline; left = children()) {
    for (const pid_t pid : left) ::kill(pid, SIGKILL);
    if (reap()) break;
    wait_for_child(deadline);
  }
}

/// Collects all that have ended; true when no child is left.
bool Child::reap() {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid == pid_) status_ = status;
    if (pid == 0) return false;
    if (pid < 0 && errno != EINTR) return true;
  }
}

int Child::wait(std::chrono::seconds limit) {
  const auto deadline = Clock::now() + limit;
  for (;;) {
    reap();
    if (status_) {
      return WIFSIGNALED(*status_) ? 128 + WTERMSIG(*status_) : WEXITSTATUS(*status_);
    }
    if (!wait_for_child(deadline)) return -1;
  }
}

void Child::kill(int signal) const {
  if (!status_) ::kill(pid_, signal);
}

bool Child::all_gone(std::chrono::seconds limit) {
  const auto deadline = Clock::now() + limit;
  while (!reap()) {
    if (!wait_for_child(deadline)) return false;
  }
  return true;
}

bool Child::says(const std::string& text, std::chrono::seconds limit) {
  const auto deadline = Clock::now() + limit;
  std::string said;
  std::array<char, 4096> buffer;
  while (said.find(text) == std::string::npos) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd entry{terminal_.get(), POLLIN, 0};
    if (left <= 0 || ::poll(&entry, 1, static_cast<int>(left)) <= 0) return false;
    const ssize_t n = ::read(terminal_.get(), buffer.data(), buffer.size());
    if (n <= 0) return false;
    said.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return true;
}

std::string Child::output() const {
  return content(output_.get());
}
std::string Child::errors() const {
  return content(errors_.get());
}

}  // namespace sublet::test
