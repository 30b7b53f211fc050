// `sublet lease`: keeps a lease for the programs of its user, or for one program that it runs.

#include <base/fd.hpp>
#include <base/node_identity.hpp>
#include <base/system_text.hpp>
#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <client/kept_lease.hpp>
#include <common/listening_socket.hpp>
#include <wire/limits.hpp>

#include <boost/program_options.hpp>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <set>

extern char** environ;

namespace sublet::cli {
namespace {

namespace po = boost::program_options;

/// As shells and env(1) have them.
constexpr int kExitCannotRun = 126;
constexpr int kExitNotFound = 127;
constexpr int kExitSignal = 128;

constexpr const char* kLeaseVariable = "SUBLET_LEASE";

}  // namespace

CommandLine lease_command_line() {
  CommandLine line;
  line.name = "lease";
  line.arguments = "[OPTIONS] [-- PROGRAM [ARGUMENTS]]";
  line.about =
      "Leases cores and keeps them for programs of this user: for PROGRAM, which it runs and whose "
      "exit\n"
      "code it returns, or until SIGINT, SIGTERM or SIGHUP, until the pipe that is its standard "
      "input\n"
      "is closed, or until the time is over. $SUBLET_LEASE names a file of the lease; each lease "
      "that\n"
      "a program asks for, with that set, is one part of it, which goes back to it. Ends with 4 "
      "when it\n"
      "is refused, and with 5 when the lease has ended before its time.";
  line.options.add_options()("cores", po::value<std::uint32_t>()->default_value(1),
                             "workers of each part")(
      "parts", po::value<std::uint32_t>()->default_value(1),
      "how many programs, ranks or threads can use it at one time, each one part")(
      "cores-per-worker", po::value<std::uint32_t>()->default_value(1), "cores of each worker")(
      "gpus", po::value<std::uint32_t>()->default_value(0), "GPUs of each worker")(
      "memory", po::value<std::string>()->default_value("256MiB"),
      "of each part, for functions, for instance 2GiB")(
      "time", po::value<std::string>()->default_value("1h"), "how long, for instance 30min or 2d")(
      "wait", po::value<std::string>()->default_value("0"),
      "how long to wait when so many are not free, for instance 10m; at most 7d")(
      "priority", po::value<std::string>()->default_value("0"),
      "of requests that wait the higher is served first: -100 to 100, above 0 for operators")(
      "notice", po::value<std::string>()->default_value("5s"),
      "how long before the lease is taken away this and its programs are told; at most 1h")(
      "placement", po::value<std::string>()->default_value("near"), "pack, spread or near")(
      "file", po::value<std::string>(),
      "the file of the lease, new: in a directory that all nodes share, for an MPI job on several "
      "(default: one in this user's run-time directory)");
  add_manager_options(line);
  add_output_option(line);
  return line;
}

namespace {

Result<Placement> read_placement(const std::string& text) {
  if (text == "pack") return Placement::kPack;
  if (text == "spread") return Placement::kSpread;
  if (text == "near") return Placement::kNear;
  return fail(ErrorKind::kInvalid,
              "--placement is '" + text + "'; it must be pack, spread or near");
}

Result<LeaseRequest> read_request(const Values& values) {
  LeaseRequest request;
  request.cores = values["cores"].as<std::uint32_t>();
  request.parts = values["parts"].as<std::uint32_t>();
  request.cores_per_worker = values["cores-per-worker"].as<std::uint32_t>();
  request.gpus_per_worker = values["gpus"].as<std::uint32_t>();
  const auto memory = parse_size(values["memory"].as<std::string>());
  if (!memory) return fail(ErrorKind::kInvalid, "--memory: " + std::string(memory.error().what()));
  request.memory_bytes = *memory;
  using std::chrono::milliseconds;
  std::optional<Error> wrong;
  const auto duration = [&](const char* option, milliseconds most) {
    const auto read = parse_duration(values[option].as<std::string>(), most);
    if (!read)
      wrong = Error(ErrorKind::kInvalid, std::string("--") + option + ": " + read.error().what());
    return read.value_or(milliseconds(0));
  };
  request.duration =
      std::chrono::ceil<std::chrono::seconds>(duration("time", wire::kMaxLeaseDuration));
  request.wait = duration("wait", wire::kMaxWait);
  request.notice = duration("notice", wire::kMaxNotice);
  if (wrong) return tl::unexpected<Error>(std::move(*wrong));
  const auto& priority = values["priority"].as<std::string>();
  const char* const end = priority.data() + priority.size();
  const auto [rest, error] = std::from_chars(priority.data(), end, request.priority);
  if (error != std::errc() || rest != end) {
    return fail(ErrorKind::kInvalid,
                "--priority is '" + priority + "'; it must be a number from -100 to 100");
  }
  const auto placement = read_placement(values["placement"].as<std::string>());
  if (!placement) return tl::unexpected<Error>(placement.error());
  request.placement = *placement;
  return request;
}

/// The signals that end this or go on to its program, and SIGCHLD, from a descriptor.
class Signals {
 public:
  Signals() {
    ::sigemptyset(&set_);
    for (const int one :
         {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH, SIGCHLD}) {
      ::sigaddset(&set_, one);
    }
    ::sigprocmask(SIG_BLOCK, &set_, &before_);
    fd_ = base::Fd(::signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const sigset_t& before() const { return before_; }
  std::optional<signalfd_siginfo> next() {
    signalfd_siginfo info{};
    if (::read(fd_.get(), &info, sizeof(info)) != sizeof(info)) return std::nullopt;
    return info;
  }

 private:
  sigset_t set_{};
  sigset_t before_{};
  base::Fd fd_;
};

/// The file's path for as long as it lives.
class LeaseFile {
 public:
  explicit LeaseFile(std::string path) : path_(std::move(path)) {}
  ~LeaseFile() { ::unlink(path_.c_str()); }
  LeaseFile(const LeaseFile&) = delete;
  LeaseFile& operator=(const LeaseFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// What the lease's helper thread tells the one that waits.
struct News {
  base::Fd fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::atomic<bool> lost{false};
};

client::KeptLease::Events events_of(const std::shared_ptr<News>& news) {
  client::KeptLease::Events events;
  events.on_ending = [](const EndingNotice& notice) {
    complain("lease",
             "the lease ends in " + std::to_string(notice.left.count()) + " ms: " + notice.reason,
             0);
  };
  events.on_lost = [news](const std::string& reason) {
    complain("lease", "the lease, or a part of it, has ended: " + reason, 0);
    news->lost.store(true);
    const std::uint64_t one = 1;
    (void)!::write(news->fd.get(), &one, sizeof(one));
  };
  return events;
}

/// Whether the end of standard input is somebody's word that it is not needed any more: a terminal,
/// a file or /dev/null says nothing.
bool stdin_counts() {
  struct stat info {};
  return ::fstat(STDIN_FILENO, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode));
}

bool stdin_has_ended() {
  std::array<char, 4096> ignored{};
  const ssize_t got = ::read(STDIN_FILENO, ignored.data(), ignored.size());
  return got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN);
}

void print_lease(const Values& values, const client::KeptLeaseFile& file, const std::string& path) {
  std::uint64_t cores = 0;
  std::uint64_t gpus = 0;
  std::set<std::string> nodes;
  for (const Grant& grant : file.grants) {
    cores += std::uint64_t{grant.cores} * grant.cores_per_worker;
    gpus += std::uint64_t{grant.cores} * grant.gpus_per_worker;
    nodes.insert(grant.node_name);
  }
  if (values["output"].as<std::string>() == "json") {
    std::cout << nlohmann::json{{"lease", file.lease_id},
                                {"file", path},
                                {"cores", cores},
                                {"gpus", gpus},
                                {"nodes", nodes}}
                     .dump()
              << std::endl;
    return;
  }
  std::string names;
  for (const std::string& name : nodes) names += (names.empty() ? "" : ",") + name;
  std::cout << "lease " << file.lease_id << ": " << cores << (cores == 1 ? " core" : " cores")
            << (gpus == 0   ? std::string()
                : gpus == 1 ? std::string(" and 1 GPU")
                            : " and " + std::to_string(gpus) + " GPUs")
            << " on " << names << "\n"
            << "export " << kLeaseVariable << "=" << path << std::endl;
}

/// Until it is not wanted any more.
Result<int> keep_lease(Signals& signals, const News& news) {
  const bool watches_stdin = stdin_counts();
  for (;;) {
    std::array<pollfd, 3> fds = {pollfd{signals.fd(), POLLIN, 0}, pollfd{news.fd.get(), POLLIN, 0},
                                 pollfd{watches_stdin ? STDIN_FILENO : -1, POLLIN, 0}};
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) {
      return fail(ErrorKind::kInternal, "waiting: " + base::system_text(errno), errno);
    }
    while (const auto signal = signals.next()) {
      const auto number = static_cast<int>(signal->ssi_signo);
      if (number == SIGINT || number == SIGTERM || number == SIGHUP) return kExitOk;
    }
    if (news.lost.load()) return kExitNotDone;
    if (fds[2].revents != 0 && stdin_has_ended()) return kExitOk;
  }
}

std::vector<std::string> environment_with(const std::string& path) {
  const std::string mine = std::string(kLeaseVariable) + "=";
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with(mine)) entries.emplace_back(*entry);
  }
  entries.push_back(mine + path);
  return entries;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// The program's exit code, as a shell would have it.
int code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : kExitSignal + WTERMSIG(status);
}

/// 0 for errno, or why there is no program.
int start_program(const std::vector<std::string>& words, const std::string& path,
                  const sigset_t& mask, pid_t& pid) {
  std::vector<std::string> arguments = words;
  std::vector<std::string> entries = environment_with(path);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setsigmask(&attributes, &mask);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const int error = ::posix_spawnp(&pid, words.front().c_str(), nullptr, &attributes,
                                   pointers_to(arguments).data(), pointers_to(entries).data());
  ::posix_spawnattr_destroy(&attributes);
  return error;
}

Result<int> run_program(const std::vector<std::string>& words, const std::string& path,
                        Signals& signals) {
  pid_t pid = 0;
  if (const int error = start_program(words, path, signals.before(), pid); error != 0) {
    return complain("lease", "running " + words.front() + ": " + base::system_text(error),
                    error == ENOENT ? kExitNotFound : kExitCannotRun);
  }
  for (;;) {
    pollfd fd{signals.fd(), POLLIN, 0};
    if (::poll(&fd, 1, -1) < 0 && errno != EINTR) {
      return fail(ErrorKind::kInternal, "waiting: " + base::system_text(errno), errno);
    }
    while (const auto signal = signals.next()) {
      const auto number = static_cast<int>(signal->ssi_signo);
      int status = 0;
      if (number == SIGCHLD) {
        if (::waitpid(pid, &status, WNOHANG) == pid) return code_of(status);
      } else if (signal->ssi_code != SI_KERNEL) {  // a terminal has told the program too
        ::kill(pid, number);
      }
    }
  }
}

Result<int> lease_and(const Values& values, const std::vector<std::string>& program) {
  if (auto format = output_format(values); !format) return tl::unexpected<Error>(format.error());
  const auto request = read_request(values);
  if (!request) return tl::unexpected<Error>(request.error());
  auto target = manager_target(values);
  if (!target) return tl::unexpected<Error>(target.error());
  SessionOptions options = target->session;
  options.manager = target->location.address;
  options.allow_private = false;
  options.timeout = target->timeout;
  options.lease.clear();  // another one, not a part of one
  const bool named = values.count("file") != 0;
  std::string path;
  if (named) {
    path = std::filesystem::absolute(values["file"].as<std::string>());
    if (::access(path.c_str(), F_OK) == 0) {  // not after a long wait
      return fail(ErrorKind::kInvalid, "--file: " + path + " is there; name a new one");
    }
  } else if (auto made = manager::make_private_directory(base::runtime_directory()); !made) {
    return tl::unexpected<Error>(made.error());
  }
  const auto news = std::make_shared<News>();
  auto kept = [&] {
    const WaitingNote note(target->location.to_string());
    return client::KeptLease::open(options, *request, events_of(news));
  }();
  if (!kept) return tl::unexpected<Error>(kept.error());
  // Not before: what interrupts a wait ends this. Sublet's own thread takes no signals.
  Signals signals;
  if (!named) {
    path = base::runtime_directory() + "/lease-" + std::to_string(kept->file().lease_id) + "-" +
           std::to_string(::getpid());
    ::unlink(path.c_str());  // of a process of that number that was killed
  }
  if (auto written = kept->file().write(path); !written) {
    return tl::unexpected<Error>(written.error());
  }
  const LeaseFile file(path);
  if (!program.empty()) return run_program(program, file.path(), signals);
  print_lease(values, kept->file(), file.path());
  return keep_lease(signals, *news);
}

}  // namespace

int lease_command(const std::vector<std::string>& words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  std::vector<std::string> program;
  if (dashes != words.end()) program.assign(dashes + 1, words.end());
  if (dashes != words.end() && program.empty()) {
    return complain("lease", "which program? usage: sublet lease [OPTIONS] -- PROGRAM [ARGUMENTS]",
                    kExitUsage);
  }
  return run_command_for_code(
      lease_command_line(), {words.begin(), dashes},
      [&program](const Values& values) { return lease_and(values, program); });
}

}  // namespace sublet::cli
