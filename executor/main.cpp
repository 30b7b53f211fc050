// sublet-executor: the process that runs other people's functions. Started by an executor manager,
// never by a person.

#include <executor/zygote.hpp>
#include <sublet/version.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace {

constexpr int kUsageError = 2;

int usage() {
  std::fputs(
      "usage: sublet-executor --zygote FD | --version | --help\n"
      "Starts and runs the executors of a node. FD is a socket to the executor manager that has\n"
      "started it; start `sublet executor-manager` instead.\n",
      stderr);
  return kUsageError;
}

/// Descriptors 0 to 2 must be taken, or a socket would become somebody's standard output.
bool open_standard_descriptors() {
  int fd;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd < 0) return false;
  ::close(fd);
  return true;
}

int run_zygote(const char* fd_text) {
  int fd = -1;
  const char* end = fd_text + std::strlen(fd_text);
  const auto [rest, error] = std::from_chars(fd_text, end, fd);
  if (error != std::errc() || rest != end || fd <= STDERR_FILENO || ::fcntl(fd, F_GETFD) < 0) {
    std::fprintf(stderr, "sublet-executor: '%s' is no open descriptor above 2\n", fd_text);
    return kUsageError;
  }
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  auto zygote = sublet::executor::Zygote::start(sublet::base::Fd(fd));
  const auto ran = zygote ? (*zygote)->run() : tl::unexpected<sublet::Error>(zygote.error());
  if (!ran) {
    std::fprintf(stderr, "sublet-executor: %s\n", ran.error().what());
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (!open_standard_descriptors()) return 1;
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    std::puts("sublet-executor " SUBLET_VERSION);
    return 0;
  }
  if (argc == 3 && std::string_view(argv[1]) == "--zygote") return run_zygote(argv[2]);
  if (argc == 2 && std::string_view(argv[1]) == "--help") {
    usage();
    return 0;
  }
  return usage();
}
