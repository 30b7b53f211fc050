#include <base/system_text.hpp>
#include <base/unix_socket.hpp>
#include <executor_manager/zygote_process.hpp>
#include <wire/executor_packets.hpp>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <vector>

extern char** environ;

namespace sublet::manager {
namespace {

using namespace std::string_view_literals;

constexpr int kZygoteFd = 3;  ///< Where the zygote finds its end of the socket.

/// What a zygote of a cluster's users has of this environment: where programs and libraries are,
/// how text and time are written, and what configures networks and topology. Of the whole of it
/// functions could read the rest, whatever was unset.
bool is_for_functions(std::string_view variable) {
  constexpr std::array kNames{"LANG="sv, "LANGUAGE="sv, "LD_LIBRARY_PATH="sv, "PATH="sv, "TZ="sv};
  constexpr std::array kPrefixes{"FI_"sv,   "HWLOC_"sv, "IBV_"sv,   "LC_"sv,
                                 "MLX4_"sv, "MLX5_"sv,  "RDMAV_"sv, "SUBLET_FABRIC_"sv};
  const auto begins = [variable](std::string_view with) { return variable.starts_with(with); };
  const std::string_view name = variable.substr(0, variable.find('='));
  return std::any_of(kNames.begin(), kNames.end(), begins) ||
         std::any_of(kPrefixes.begin(), kPrefixes.end(), begins) || name.ends_with("SAN_OPTIONS");
}

std::vector<char*> environment_for_functions() {
  std::vector<char*> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (is_for_functions(*variable)) variables.push_back(*variable);
  }
  variables.push_back(nullptr);
  return variables;
}

/// `output`: for standard output and error; -1: this process's.
Result<pid_t> spawn(const std::string& program, int socket, int output, Isolation isolation) {
  std::vector<std::string> words{program, "--zygote", std::to_string(kZygoteFd)};
  if (output >= 0) words.emplace_back("--shared");
  if (isolation == Isolation::kSandbox) words.emplace_back("--sandbox");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, socket, kZygoteFd);
  if (output >= 0) {
    ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  }
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  // A terminal's Ctrl-C ends the manager, which then ends its executors in order. Signals that the
  // manager takes through its loop must reach the zygote in the ordinary way.
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  sigset_t none;
  sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  auto variables = environment_for_functions();
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, argv.data(),
                                  output < 0 ? environ : variables.data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return fail(ErrorKind::kInternal, "starting '" + program + "': " + base::start_text(error),
                error);
  }
  return pid;
}

}  // namespace

Result<std::string> find_executor() {
  if (const char* named = std::getenv("SUBLET_EXECUTOR"); named != nullptr && *named != '\0') {
    if (::access(named, X_OK) == 0) return std::string(named);
    return fail(ErrorKind::kInvalid,
                std::string("SUBLET_EXECUTOR names '") + named + "', which cannot be run");
  }
  std::error_code error;
  const auto here = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  std::string tried;
  for (const char* relative : {"../libexec/sublet/sublet-executor", "sublet-executor"}) {
    const std::string path = (here / relative).lexically_normal().string();
    if (::access(path.c_str(), X_OK) == 0) return path;
    tried += (tried.empty() ? "" : " or ") + path;
  }
  return fail(ErrorKind::kUnsupported,
              "the program sublet-executor is not at " + tried + "; set SUBLET_EXECUTOR");
}

Result<ZygoteProcess> start_zygote(ZygoteFor whom, Isolation isolation,
                                   std::optional<rlimit> descriptors) {
  auto program = find_executor();
  if (!program) return tl::unexpected<Error>(program.error());
  auto sockets = base::make_socketpair();
  if (!sockets) return tl::unexpected<Error>(sockets.error());
  std::array<int, 2> ends{-1, -1};
  if (whom == ZygoteFor::kCluster && ::pipe2(ends.data(), O_CLOEXEC) != 0) {
    const int error = errno;
    return fail(ErrorKind::kInternal, "making a pipe for executors: " + base::system_text(error),
                error);
  }
  base::Fd output(ends[0]);
  base::Fd into(ends[1]);
  auto pid = spawn(*program, sockets->second.get(), into.get(), isolation);
  if (!pid) return tl::unexpected<Error>(pid.error());
  sockets->second.reset();
  into.reset();

  ZygoteProcess zygote;
  zygote.whom = whom;
  zygote.isolation = isolation;
  zygote.output = std::move(output);
  zygote.pid = *pid;
  if (descriptors) {
    zygote.descriptors = *descriptors;
    ::prlimit(*pid, RLIMIT_NOFILE, &zygote.descriptors, nullptr);
  } else {
    ::getrlimit(RLIMIT_NOFILE, &zygote.descriptors);
  }
  zygote.socket = std::move(sockets->first);
  auto message = wire::receive_message(
      zygote.socket.get(),
      std::chrono::duration_cast<std::chrono::milliseconds>(wire::kExecutorStart));
  const auto ready = message && message->type == wire::MessageType::kZygoteReady
                         ? message->as<wire::ZygoteReady>()
                         : std::nullopt;
  if (!ready || !(ready->ticks_per_ns > 0)) {
    zygote.socket.reset();
    ::kill(zygote.pid, SIGKILL);
    ::waitpid(zygote.pid, nullptr, 0);
    const auto dying = message ? message->as<wire::Dying>() : std::nullopt;
    const std::string why = !message ? message.error().what()
                            : dying  ? std::string(wire::text_of(dying->text))
                                     : "it sent something else";
    return fail(ErrorKind::kInternal, "'" + *program + "' did not become ready: " + why);
  }
  zygote.ticks_per_ns = ready->ticks_per_ns;
  return zygote;
}

}  // namespace sublet::manager
