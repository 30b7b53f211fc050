// sublet-executor: the process that runs other people's functions. Started by an executor manager,
// never by a person.

#include <base/descriptors.hpp>
#include <executor/no_mpi.hpp>
#include <executor/surroundings.hpp>
#include <executor/zygote.hpp>
#include <sublet/version.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

namespace {

constexpr int kUsageError = 2;

int usage() {
  std::fputs(
      "usage: sublet-executor --zygote FD [--shared] [--sandbox | --container] | --version | "
      "--help\n"
      "Starts and runs the executors of a node. FD is a socket to the executor manager that has\n"
      "started it; start `sublet executor-manager` instead. --shared: for the users of a cluster.\n"
      "--sandbox: without system calls and a view of the node that functions have no business "
      "with. --container: the same, as the first process of a container.\n",
      stderr);
  return kUsageError;
}

/// How the dynamic linker and hwloc are to behave in a zygote.
constexpr std::array<std::pair<const char*, const char*>, 2> kEnvironment{{
    // Every symbol is bound now. Bound when first used, each executor would do it again, and the
    // first
    // start.
    {"LD_BIND_NOW", "1"},
    // hwloc would load all its plugins: the X, OpenCL and GPU libraries of the machine, with
    // threads of
    // their own. They triple what a fork has to copy, and only look at devices.
    {"HWLOC_PLUGINS_PATH", "/dev/null"},
}};
constexpr const char* kPrepared = "SUBLET_ZYGOTE_PREPARED";

/// The dynamic linker reads its environment once, so the zygote starts itself again. Functions see
/// none of it.
void prepare_environment(char** argv) {
  if (std::getenv(kPrepared) == nullptr) {
    ::setenv(kPrepared, "1", 1);
    for (const auto& [name, value] : kEnvironment) ::setenv(name, value, 1);
    ::execv("/proc/self/exe", argv);  // should it fail, the zygote works, only slower
  }
}

void forget_environment() {
  ::unsetenv(kPrepared);
  for (const auto& [name, value] : kEnvironment) ::unsetenv(name);
}

using sublet::executor::Zygote;

int run_zygote(const char* fd_text, bool shared, Zygote::Isolation isolation, char** argv) {
  int fd = -1;
  const char* end = fd_text + std::strlen(fd_text);
  const auto [rest, error] = std::from_chars(fd_text, end, fd);
  if (error != std::errc() || rest != end || fd <= STDERR_FILENO || ::fcntl(fd, F_GETFD) < 0) {
    std::fprintf(stderr, "sublet-executor: '%s' is no open descriptor above 2\n", fd_text);
    return kUsageError;
  }
  sublet::executor::leave_job();
  prepare_environment(argv);
  // What the shell that started the manager had open is not for functions.
  sublet::base::close_all_but({&fd, 1});
  sublet::executor::prepare_surroundings();
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  auto zygote = Zygote::start(sublet::base::Fd(fd), isolation);
  forget_environment();
  if (shared) sublet::executor::leave_manager();
  const auto ran = zygote ? (*zygote)->run() : tl::unexpected<sublet::Error>(zygote.error());
  if (!ran) {
    std::fprintf(stderr, "sublet-executor: %s\n", ran.error().what());
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (!sublet::base::open_standard_descriptors()) return 1;
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    std::puts("sublet-executor " SUBLET_VERSION);
    return 0;
  }
  if (argc >= 3 && std::string_view(argv[1]) == "--zygote") {
    bool shared = false;
    auto isolation = Zygote::Isolation::kProcess;
    for (int i = 3; i < argc; ++i) {
      const std::string_view word = argv[i];
      if (word == "--shared") {
        shared = true;
      } else if (word == "--sandbox") {
        isolation = Zygote::Isolation::kSandbox;
      } else if (word == "--container") {
        isolation = Zygote::Isolation::kContainer;
      } else {
        return usage();
      }
    }
    return run_zygote(argv[2], shared, isolation, argv);
  }
  if (argc == 2 && std::string_view(argv[1]) == "--help") {
    usage();
    return 0;
  }
  return usage();
}
