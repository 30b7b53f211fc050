#include <base/log.hpp>
#include <base/node_identity.hpp>
#include <base/system_text.hpp>
#include <client/job.hpp>
#include <client/private_manager.hpp>
#include <wire/limits.hpp>
#include <wire/manager_address.hpp>

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

extern char** environ;

namespace sublet::client {
namespace {

constexpr auto kStartTimeout = std::chrono::seconds(10);
constexpr auto kStopTimeout = std::chrono::seconds(3);

// Of the manager.
constexpr int kLifelineFd = 3;
constexpr int kAddressFd = 4;

/// $SUBLET_EXECUTABLE, else beside this library (../bin/sublet), else on the PATH.
Result<std::string> find_executable() {
  const auto usable = [](const std::string& path) { return ::access(path.c_str(), X_OK) == 0; };
  if (const char* named = std::getenv("SUBLET_EXECUTABLE"); named != nullptr && *named != '\0') {
    if (usable(named)) return std::string(named);
    return fail(ErrorKind::kInvalid,
                std::string("SUBLET_EXECUTABLE names '") + named + "', which cannot be run");
  }
  std::vector<std::string> tried;
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&find_executable), &info) != 0 &&
      info.dli_fname != nullptr) {
    std::error_code error;
    const auto here = std::filesystem::canonical(info.dli_fname, error).parent_path();
    // lib/libsublet.so, lib/ARCH/libsublet.so, or linked into a program of bin/ itself.
    for (const char* relative : {"../bin/sublet", "../../bin/sublet", "sublet"}) {
      tried.push_back((here / relative).lexically_normal().string());
    }
  }
  if (const char* path = std::getenv("PATH")) {
    const std::string all = path;
    for (std::size_t begin = 0; begin <= all.size();) {
      const std::size_t end = std::min(all.find(':', begin), all.size());
      if (end > begin) tried.push_back(all.substr(begin, end - begin) + "/sublet");
      begin = end + 1;
    }
  }
  for (const std::string& path : tried) {
    if (usable(path)) return path;
  }
  return fail(ErrorKind::kUnsupported,
              "no resource manager is running, and the command 'sublet' that could start a private "
              "one is neither beside libsublet nor on the PATH; set SUBLET_EXECUTABLE or "
              "SUBLET_MANAGER");
}

Result<std::pair<base::Fd, base::Fd>> make_pipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) {
    return fail(ErrorKind::kInternal, "making a pipe: " + base::system_text(errno), errno);
  }
  return std::make_pair(base::Fd(fds[0]), base::Fd(fds[1]));
}

/// Reads the line that the manager writes once it listens.
Result<std::string> read_address(int fd) {
  const auto deadline = std::chrono::steady_clock::now() + kStartTimeout;
  std::string line;
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd entry{fd, POLLIN, 0};
    const int ready = left.count() > 0 ? ::poll(&entry, 1, static_cast<int>(left.count())) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      return fail(ErrorKind::kDisconnected, "the private manager did not start within 10 s");
    }
    std::array<char, 512> buffer{};
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return fail(ErrorKind::kDisconnected,
                  "the private manager ended before it listened; it has said why on stderr");
    }
    line.append(buffer.data(), static_cast<std::size_t>(n));
    if (const auto end = line.find('\n'); end != std::string::npos) {
      line.resize(end);
      if (!line.starts_with(wire::kPrivateManagerFailed)) return line;
      return fail(ErrorKind::kDisconnected, "the private manager does not start: " +
                                                line.substr(wire::kPrivateManagerFailed.size()));
    }
    if (line.size() > 2 * wire::kMaxText) {
      return fail(ErrorKind::kInternal, "the private manager wrote no address");
    }
  }
}

cpu_set_t affinity_of(pid_t pid) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(pid, sizeof set, &set) != 0) CPU_ZERO(&set);
  return set;
}

/// While it lives this thread, and what it starts, may use the cores of the job's launcher too.
/// mpirun binds each rank to a core or two, and the manager is the whole job's.
class LaunchersCores {
 public:
  LaunchersCores() : before_(affinity_of(0)) {
    if (!this_job().launched || CPU_COUNT(&before_) == 0) return;
    const cpu_set_t launcher = affinity_of(::getppid());
    cpu_set_t both;
    CPU_OR(&both, &before_, &launcher);
    // The kernel leaves out what a cgroup forbids. Without success all goes on as before.
    changed_ = ::sched_setaffinity(0, sizeof both, &both) == 0;
  }
  ~LaunchersCores() {
    if (changed_) ::sched_setaffinity(0, sizeof before_, &before_);
  }
  LaunchersCores(const LaunchersCores&) = delete;
  LaunchersCores& operator=(const LaunchersCores&) = delete;

 private:
  cpu_set_t before_;
  bool changed_ = false;
};

/// Starts `argv` with `lifeline` and `address` as its descriptors kLifelineFd and kAddressFd. What
/// is started forks and ends: the manager is nobody's child.
Result<void> spawn(std::vector<char*> argv, int lifeline, int address) {
  argv.push_back(nullptr);
  // Descriptors 3 and 4 may be those of the pipes themselves: out of the way first.
  const base::Fd lifeline_high(::fcntl(lifeline, F_DUPFD_CLOEXEC, 16));
  const base::Fd address_high(::fcntl(address, F_DUPFD_CLOEXEC, 16));
  if (!lifeline_high.valid() || !address_high.valid()) {
    // The limit may be lower than these numbers, which is no argument then.
    const int number = errno == EINVAL ? EMFILE : errno;
    return fail(ErrorKind::kInternal, "starting a private manager: " + base::system_text(number),
                number);
  }
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, lifeline_high.get(), kLifelineFd);
  ::posix_spawn_file_actions_adddup2(&actions, address_high.get(), kAddressFd);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  // A terminal's Ctrl-C is for the application; the manager follows it through the lifeline. What
  // the application ignores or blocks is its own affair.
  ::posix_spawnattr_setflags(
      &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  sigset_t set;
  sigemptyset(&set);
  ::posix_spawnattr_setsigmask(&attributes, &set);
  sigfillset(&set);
  ::posix_spawnattr_setsigdefault(&attributes, &set);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return fail(
        ErrorKind::kInternal,
        std::string("starting a private manager (") + argv[0] + "): " + base::start_text(error),
        error);
  }
  // An application that ignores SIGCHLD has nothing to wait for.
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return {};
}

/// What private managers read of the environment: those that are told something else are others.
std::string told_by_environment() {
  constexpr std::string_view kPrefix = "SUBLET_PRIVATE_MANAGER_";
  std::set<std::string> variables;  // in one order for all processes of the job
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (std::string_view(*variable).starts_with(kPrefix)) variables.emplace(*variable);
  }
  std::string told;
  for (const std::string& variable : variables) told += "/" + variable;
  return told;
}

}  // namespace

Result<std::shared_ptr<PrivateManager>> PrivateManager::of_this_job(const SessionOptions& options) {
  // Of the process, as its cores are: sessions that know nothing of each other share it.
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<PrivateManager>> known;
  const std::string job = this_job().name + "/" + base::node_identity(options.node_name).id + "/" +
                          options.private_cpuset + "/" +
                          std::to_string(options.private_oversubscribe) + told_by_environment();
  const std::lock_guard lock(mutex);
  if (auto manager = known[job].lock(); manager && manager->runs()) return manager;
  auto started = start(options, job);
  if (started) known[job] = *started;
  return started;
}

Result<std::shared_ptr<PrivateManager>> PrivateManager::start(const SessionOptions& options,
                                                              const std::string& job) {
  auto executable = find_executable();
  if (!executable) return tl::unexpected<Error>(executable.error());
  auto lifeline = make_pipe();
  auto address = make_pipe();
  if (!lifeline) return tl::unexpected<Error>(lifeline.error());
  if (!address) return tl::unexpected<Error>(address.error());

  std::vector<std::string> arguments = {*executable,     "private-manager",
                                        "--lifeline-fd", std::to_string(kLifelineFd),
                                        "--address-fd",  std::to_string(kAddressFd),
                                        "--parent",      std::to_string(::getpid()),
                                        "--job",         job};
  if (!options.private_cpuset.empty()) {
    arguments.insert(arguments.end(), {"--cpuset", options.private_cpuset});
  }
  if (!options.private_avoid.empty()) {
    arguments.insert(arguments.end(), {"--avoid", options.private_avoid});
  }
  if (options.private_oversubscribe != 1) {
    arguments.insert(arguments.end(),
                     {"--oversubscribe", std::to_string(options.private_oversubscribe)});
  }
  if (!options.node_name.empty()) {
    arguments.insert(arguments.end(), {"--node-name", options.node_name});
  }
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  const LaunchersCores cores;
  if (auto spawned = spawn(std::move(argv), lifeline->first.get(), address->second.get());
      !spawned) {
    return tl::unexpected<Error>(spawned.error());
  }
  address->second.reset();
  auto manager =
      std::make_shared<PrivateManager>(std::move(lifeline->second), std::move(address->first));
  auto line = read_address(manager->alive_.get());
  if (!line) return tl::unexpected<Error>(line.error());
  manager->address_ = *line;
  base::log().info("this job's private manager is at {}", *line);
  return manager;
}

PrivateManager::PrivateManager(base::Fd lifeline, base::Fd alive)
    : lifeline_(std::move(lifeline)), lifeline_guard_(lifeline_.get()), alive_(std::move(alive)) {}

bool PrivateManager::runs() const noexcept {
  pollfd entry{alive_.get(), 0, 0};  // the end alone
  return ::poll(&entry, 1, 0) == 0;
}

PrivateManager::~PrivateManager() {
  lifeline_guard_.reset();
  lifeline_.reset();
  // Its cores are free for whoever comes next once it has ended. It says so when it stays, for
  // others of the job.
  const auto deadline = std::chrono::steady_clock::now() + kStopTimeout;
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) break;
    pollfd entry{alive_.get(), POLLIN, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(left.count()));
    if (ready > 0 || (ready < 0 && errno != EINTR)) return;
  }
  base::log().warn("the private manager at {} has not ended within 3 s; it is left alone",
                   address_);
}

}  // namespace sublet::client
