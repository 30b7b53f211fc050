#include "mpi_compare.hpp"

#include "companion.hpp"
#include <base/fd.hpp>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>

namespace sublet::bench {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr const char* kProgram = "sublet-mpi-pingpong";

/// Starting two ranks takes a second or less, measuring one size well below a second.
constexpr auto kRunLimit = 60s;
constexpr auto kEndLimit = 2s;
constexpr std::size_t kMaxOutput = 1u << 20;

/// A command under way, ended with this.
class Command {
 public:
  Command() = default;
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  ~Command() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);  // mpirun then ends its ranks
    const auto deadline = Clock::now() + kEndLimit;
    while (!reap(WNOHANG) && Clock::now() < deadline) ::usleep(10'000);
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    reap(0);
  }

  /// kUnsupported when there is no such command.
  Result<void> start(std::vector<std::string> words) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      return fail(ErrorKind::kOverloaded, std::string("making a pipe: ") + std::strerror(errno),
                  errno);
    }
    output_.reset(ends[0]);
    const base::Fd write_end(ends[1]);
    std::vector<std::string> variables = environment();
    const std::vector<char*> argv = pointers(words);
    const std::vector<char*> envp = pointers(variables);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
    const int error = ::posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), envp.data());
    ::posix_spawn_file_actions_destroy(&actions);
    if (error == 0) return {};
    pid_ = -1;
    return fail(error == ENOENT ? ErrorKind::kUnsupported : ErrorKind::kOverloaded,
                "--compare: starting " + words[0] + ": " + std::strerror(error), error);
  }

  /// All it writes until it ends.
  Result<std::string> read_all() {
    const auto deadline = Clock::now() + kRunLimit;
    std::string text;
    std::array<char, 4096> buffer;
    for (;;) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      pollfd wait{output_.get(), POLLIN, 0};
      if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) == 0) {
        return fail(ErrorKind::kDisconnected,
                    "mpirun did not end within " + std::to_string(kRunLimit.count()) + " s");
      }
      const ssize_t n = ::read(output_.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return text;
      text.append(buffer.data(), static_cast<std::size_t>(n));
      if (text.size() > kMaxOutput) return fail(ErrorKind::kInvalid, "mpirun writes without end");
    }
  }

  /// Its exit code, or 128 and the signal that ended it.
  int wait() {
    reap(0);
    return WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
  }

 private:
  static std::vector<std::string> environment() {
    std::vector<std::string> variables;
    for (char** variable = environ; *variable != nullptr; ++variable) {
      variables.emplace_back(*variable);
    }
    if (::geteuid() == 0) {  // Open MPI refuses to run as root unless told twice
      variables.emplace_back("OMPI_ALLOW_RUN_AS_ROOT=1");
      variables.emplace_back("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1");
    }
    return variables;
  }

  static std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    pointers.reserve(texts.size() + 1);
    for (auto& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    return pointers;
  }

  bool reap(int flags) {
    if (pid_ <= 0) return true;
    pid_t pid;
    while ((pid = ::waitpid(pid_, &status_, flags)) < 0 && errno == EINTR) {
    }
    if (pid == 0) return false;
    pid_ = -1;
    return true;
  }

  pid_t pid_ = -1;
  int status_ = 0;
  base::Fd output_;
};

template <class T>
std::string join(const std::vector<MpiRequest>& requests, T MpiRequest::*member) {
  std::string text;
  for (const auto& request : requests) {
    text += (text.empty() ? "" : ",") + std::to_string(request.*member);
  }
  return text;
}

Result<std::vector<double>> parse_figures(const std::string& text, std::size_t count) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_array() && json.size() == count) {
    std::vector<double> figures;
    for (const auto& figure : json) {
      if (figure.is_number()) figures.push_back(figure.get<double>());
    }
    if (figures.size() == count) return figures;
  }
  return fail(ErrorKind::kInvalid, std::string(kProgram) + " wrote something else than " +
                                       std::to_string(count) + " figures: '" + text.substr(0, 200) +
                                       "'");
}

}  // namespace

Result<std::vector<double>> openmpi_pingpong(const CpuPair& cpus,
                                             const std::vector<MpiRequest>& requests,
                                             MpiTransport transport) {
  auto program = find_companion(kProgram);
  if (!program) return tl::unexpected<Error>(std::move(program.error()));
  // The program binds its ranks itself. Two slots, and no yielding while a rank waits, whatever
  // Open MPI thinks of the number of cores.
  std::vector<std::string> words{"mpirun", "-n",          "2",
                                 "--host", "localhost:2", "--bind-to",
                                 "none",   "--mca",       "mpi_yield_when_idle",
                                 "0"};
  if (transport == MpiTransport::kEager32k) {
    words.insert(words.end(), {"--mca", "btl_vader_eager_limit", "32768"});
  } else if (transport == MpiTransport::kTcp) {
    words.insert(words.end(), {"--mca", "pml", "ob1", "--mca", "btl", "self,tcp", "--mca",
                               "btl_tcp_if_include", "lo"});
  }
  words.insert(words.end(),
               {*program, "--sizes", join(requests, &MpiRequest::size_bytes), "--calls-per-sample",
                join(requests, &MpiRequest::calls_per_sample), "--cpus",
                std::to_string(cpus.client) + "," + std::to_string(cpus.worker)});
  Command command;
  if (auto started = command.start(words); !started) {
    return tl::unexpected<Error>(std::move(started.error()));
  }
  auto output = command.read_all();
  if (!output) return tl::unexpected<Error>(std::move(output.error()));
  const int code = command.wait();
  if (code != 0) {
    return fail(ErrorKind::kInternal, "--compare: mpirun " + std::string(kProgram) +
                                          " ended with code " + std::to_string(code));
  }
  return parse_figures(*output, requests.size());
}

}  // namespace sublet::bench
