#include <base/fd.hpp>
#include <base/printable_text.hpp>
#include <base/system_text.hpp>
#include <cli/mpi_paths.hpp>

#include <bench/companion.hpp>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <sstream>
#include <string>

namespace sublet::cli {
namespace {

/// It starts, asks its MPI for its version, and ends.
constexpr std::chrono::seconds kAnswer{10};
constexpr std::size_t kMostAnswer = 16384;

/// A child, ended with this at the latest.
class Asked {
 public:
  Asked() = default;
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;
  ~Asked() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    (void)wait();
  }

  Result<void> start(std::string program) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return failed("making a pipe", errno);
    output_.reset(ends[0]);
    const base::Fd write_end(ends[1]);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    // What the loader says of an MPI that is missing comes here too.
    ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDERR_FILENO);
    char* argv[] = {program.data(), nullptr};
    const int error = ::posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error == 0) return {};
    pid_ = -1;
    return failed("starting " + program, error);
  }

  /// All it writes, at most for `kAnswer`.
  Result<std::string> read_all() {
    const auto deadline = std::chrono::steady_clock::now() + kAnswer;
    std::string text;
    std::array<char, 1024> part{};
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      pollfd wanted{output_.get(), POLLIN, 0};
      const int ready = left.count() <= 0 ? 0 : ::poll(&wanted, 1, static_cast<int>(left.count()));
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0) return fail(ErrorKind::kDisconnected, "its MPI does not answer");
      const ssize_t size = ::read(output_.get(), part.data(), part.size());
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) return text;
      text.append(part.data(), static_cast<std::size_t>(size));
      if (text.size() > kMostAnswer) return fail(ErrorKind::kInternal, "it writes without end");
    }
  }

  /// True when it has ended well.
  bool wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  static tl::unexpected<Error> failed(const std::string& attempted, int number) {
    return fail(ErrorKind::kInternal, attempted + ": " + base::system_text(number), number);
  }

  pid_t pid_ = -1;
  base::Fd output_;
};

Result<MpiPath> ask(const std::string& kind, const std::string& program) {
  Asked child;
  if (auto started = child.start(program); !started) {
    return tl::unexpected<Error>(std::move(started.error()));
  }
  const auto answer = child.read_all();
  if (!answer) return tl::unexpected<Error>(answer.error());
  MpiPath found{.kind = kind, .mpi = {}, .path = {}, .text = {}};
  std::istringstream lines(*answer);
  const bool complete = child.wait() && std::getline(lines, found.mpi) &&
                        std::getline(lines, found.path) && std::getline(lines, found.text);
  if (complete) return found;
  const std::string first = answer->substr(0, answer->find('\n'));
  return fail(
      ErrorKind::kUnsupported,
      "its MPI does not run here: " + (first.empty() ? "it says nothing" : base::printable(first)));
}

}  // namespace

std::vector<MpiPathAnswer> mpi_paths() {
  std::vector<MpiPathAnswer> answers;
  for (const char* kind : {"openmpi", "mpich", "other"}) {
    const auto program = bench::find_companion(std::string("sublet-mpi-path-") + kind);
    if (program) answers.push_back({kind, ask(kind, *program)});
  }
  return answers;
}

}  // namespace sublet::cli
