#include <base/fd.hpp>
#include <base/system_text.hpp>
#include <common/program_answer.hpp>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace sublet::manager {
namespace {

constexpr std::size_t kMostAnswer = std::size_t{64} << 10;

/// A child, ended with this at the latest.
class AskedProgram {
 public:
  explicit AskedProgram(const std::vector<std::string>& words) : words_(words) {}
  AskedProgram(const AskedProgram&) = delete;
  AskedProgram& operator=(const AskedProgram&) = delete;
  ~AskedProgram() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    (void)wait();
  }

  Result<void> start() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return failed("making a pipe", errno);
    output_.reset(ends[0]);
    const base::Fd write_end(ends[1]);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    // What the loader says of a library that is missing comes here too.
    ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDERR_FILENO);
    std::vector<char*> argv;
    for (std::string& word : words_) argv.push_back(word.data());
    argv.push_back(nullptr);
    const int error = ::posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error == 0) return {};
    pid_ = -1;
    return failed("starting " + words_.front(), error);
  }

  /// All it writes, at most for `limit`.
  Result<std::string> read_all(std::chrono::milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    std::string text;
    std::array<char, 4096> part{};
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      pollfd wanted{output_.get(), POLLIN, 0};
      const int ready = left.count() <= 0 ? 0 : ::poll(&wanted, 1, static_cast<int>(left.count()));
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0) {
        return fail(ErrorKind::kDisconnected, words_.front() + " does not answer within " +
                                                  std::to_string(limit.count() / 1000) + " s");
      }
      const ssize_t size = ::read(output_.get(), part.data(), part.size());
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) return text;
      text.append(part.data(), static_cast<std::size_t>(size));
      if (text.size() > kMostAnswer) {
        return fail(ErrorKind::kInternal, words_.front() + " writes without end");
      }
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
    const ErrorKind kind = number == ENOENT ? ErrorKind::kUnsupported : ErrorKind::kInternal;
    return fail(kind, attempted + ": " + base::system_text(number), number);
  }

  std::vector<std::string> words_;
  pid_t pid_ = -1;
  base::Fd output_;
};

}  // namespace

Result<ProgramAnswer> ask_program(const std::vector<std::string>& words,
                                  std::chrono::milliseconds limit) {
  AskedProgram program(words);
  if (auto started = program.start(); !started) {
    return tl::unexpected<Error>(std::move(started.error()));
  }
  auto output = program.read_all(limit);
  if (!output) return tl::unexpected<Error>(std::move(output.error()));
  return ProgramAnswer{std::move(*output), program.wait()};
}

}  // namespace sublet::manager
