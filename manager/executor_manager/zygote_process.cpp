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

/// What a zygote of a cluster's users has of this environment: where programs and libraries are,
/// how text and time are written, and what configures networks and topology. Of the whole of it
/// functions could read the rest, whatever was unset.
bool is_for_functions(std::string_view variable) {
  constexpr std::array kNames{"LANG="sv, "LANGUAGE="sv, "LD_LIBRARY_PATH="sv, "PATH="sv, "TZ="sv};
  const auto begins = [variable](std::string_view with) { return variable.starts_with(with); };
  const std::string_view name = variable.substr(0, variable.find('='));
  return std::any_of(kNames.begin(), kNames.end(), begins) || begins("LC_") ||
         configures_networks(variable) || name.ends_with("SAN_OPTIONS");
}

std::vector<char*> environment_for_functions() {
  std::vector<char*> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (is_for_functions(*variable)) variables.push_back(*variable);
  }
  variables.push_back(nullptr);
  return variables;
}

/// `output`: for standard output and error; -1: this process's. `variables`: the environment.
Result<pid_t> spawn(std::vector<std::string> words, int socket, int output, char** variables) {
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
  pid_t pid = -1;
  const int error =
      ::posix_spawn(&pid, argv.front(), &actions, &attributes, argv.data(), variables);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return fail(ErrorKind::kInternal,
                "starting '" + words.front() + "': " + base::start_text(error), error);
  }
  return pid;
}

struct Started {
  pid_t pid = -1;
  base::Fd socket;
  base::Fd output;
};

/// With a socket and, unless functions print where this process does, a pipe for what they print.
Result<Started> spawn_zygote(std::vector<std::string> words, bool own_output, char** variables) {
  auto sockets = base::make_socketpair();
  if (!sockets) return tl::unexpected<Error>(sockets.error());
  std::array<int, 2> ends{-1, -1};
  if (own_output && ::pipe2(ends.data(), O_CLOEXEC) != 0) {
    const int error = errno;
    return fail(ErrorKind::kInternal, "making a pipe for executors: " + base::system_text(error),
                error);
  }
  base::Fd output(ends[0]);
  const base::Fd into(ends[1]);
  const auto pid = spawn(std::move(words), sockets->second.get(), into.get(), variables);
  if (!pid) return tl::unexpected<Error>(pid.error());
  return Started{*pid, std::move(sockets->first), std::move(output)};
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
  const bool cluster = whom == ZygoteFor::kCluster;
  std::vector<std::string> words{*program, "--zygote", std::to_string(kZygoteFd)};
  if (cluster) words.emplace_back("--shared");
  if (isolation != Isolation::kProcess) words.emplace_back("--sandbox");
  auto variables = environment_for_functions();
  auto started = spawn_zygote(std::move(words), cluster, cluster ? variables.data() : environ);
  if (!started) return tl::unexpected<Error>(started.error());

  ZygoteProcess zygote;
  zygote.whom = whom;
  zygote.isolation = isolation;
  zygote.output = std::move(started->output);
  zygote.pid = started->pid;
  if (descriptors) {
    zygote.descriptors = *descriptors;
    ::prlimit(zygote.pid, RLIMIT_NOFILE, &zygote.descriptors, nullptr);
  } else {
    ::getrlimit(RLIMIT_NOFILE, &zygote.descriptors);
  }
  zygote.socket = std::move(started->socket);
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

bool configures_networks(std::string_view variable) {
  constexpr std::array kPrefixes{"FI_"sv,   "HWLOC_"sv, "IBV_"sv,          "MLX4_"sv,
                                 "MLX5_"sv, "RDMAV_"sv, "SUBLET_FABRIC_"sv};
  return std::any_of(kPrefixes.begin(), kPrefixes.end(),
                     [variable](std::string_view with) { return variable.starts_with(with); });
}

Result<ZygoteProcess> start_zygote_in_container(const std::vector<std::string>& command,
                                                double ticks_per_ns) {
  auto started = spawn_zygote(command, true, environ);
  if (!started) return tl::unexpected<Error>(started.error());
  ZygoteProcess zygote;
  zygote.whom = ZygoteFor::kCluster;
  zygote.isolation = Isolation::kContainer;
  zygote.in_container = true;
  zygote.ticks_per_ns = ticks_per_ns;
  zygote.output = std::move(started->output);
  zygote.pid = started->pid;
  zygote.socket = std::move(started->socket);
  return zygote;
}

}  // namespace sublet::manager
