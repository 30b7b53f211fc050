#include "bench_run.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <iterator>

namespace sublet::test {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

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

BenchRun::BenchRun(const std::vector<std::string>& words, const Options& options)
    : output_(::memfd_create("output", MFD_CLOEXEC)),
      errors_(::memfd_create("errors", MFD_CLOEXEC)) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (options.terminal) {
    terminal_.reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    ::grantpt(terminal_.get());
    ::unlockpt(terminal_.get());
    errors_.reset(::open(::ptsname(terminal_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  }
  ChildProcess::Options starting;
  starting.environment = options.environment;
  // The user's own settings are not what is tested.
  for (const char* name : {"SUBLET_MANAGER", "SUBLET_CONFIG", "SUBLET_NODE_NAME"}) {
    starting.environment.emplace_back(name);
  }
  starting.fds = {{output_.get(), STDOUT_FILENO}, {errors_.get(), STDERR_FILENO}};
  process_ = std::make_unique<ChildProcess>(words, starting);
}

BenchRun::~BenchRun() {
  process_.reset();
  const auto deadline = Clock::now() + 10s;
  // What is killed leaves its own children to this process.
  for (auto left = children(); !left.empty() && Clock::now() < deadline; left = children()) {
    for (const pid_t pid : left) ::kill(pid, SIGKILL);
    if (all_gone(1s)) break;
  }
}

int BenchRun::wait(std::chrono::seconds limit) {
  const auto status = process_->wait(limit);
  if (!status) return -1;
  return WIFSIGNALED(*status) ? 128 + WTERMSIG(*status) : WEXITSTATUS(*status);
}

bool BenchRun::all_gone(std::chrono::seconds limit) {
  return eventually(
      [] {
        while (::waitpid(-1, nullptr, WNOHANG) > 0) {
        }
        return children().empty();
      },
      limit);
}

bool BenchRun::says(const std::string& text, std::chrono::seconds limit) {
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

std::string BenchRun::output() const {
  return content(output_.get());
}
std::string BenchRun::errors() const {
  return content(errors_.get());
}

}  // namespace sublet::test
