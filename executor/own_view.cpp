#include <base/system_text.hpp>
#include <executor/own_view.hpp>

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

namespace sublet::executor {
namespace {

constexpr unsigned long kTemporaryFlags = MS_NOSUID | MS_NODEV;
constexpr std::array kTemporaryDirectories{"/tmp", "/var/tmp", "/dev/shm"};

tl::unexpected<Error> refused(const std::string& doing) {
  const int error = errno;
  return fail(ErrorKind::kDenied, doing + ": " + base::system_text(error), error);
}

bool is_directory(const char* path) {
  struct stat info {};
  return ::lstat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace

Result<void> take_own_view() {
  if (::unshare(CLONE_NEWNS) != 0) return refused("making a mount namespace (unshare)");
  // What is mounted on the node later is seen here too, and nothing the other way round.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
    return refused("keeping mounts from the node (mount)");
  }
  for (const char* const path : kTemporaryDirectories) {
    if (!is_directory(path)) continue;
    if (::mount("tmpfs", path, "tmpfs", kTemporaryFlags, "mode=1777") != 0) {
      return refused(std::string("mounting an own ") + path);
    }
  }
  // The word is known since Linux 5.8. Before, there was one set of options for all that mount it.
  if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=invisible") !=
      0) {
    return refused("mounting a /proc without others' processes (Linux 5.8)");
  }
  return {};
}

Result<void> limit_own_view(std::uint64_t bytes) {
  const std::string size = "size=" + std::to_string(bytes);
  for (const char* const path : kTemporaryDirectories) {
    if (!is_directory(path)) continue;
    if (::mount(nullptr, path, nullptr, MS_REMOUNT | kTemporaryFlags, size.c_str()) != 0) {
      return refused(std::string("limiting an own ") + path);
    }
  }
  return {};
}

Result<void> can_take_own_view() {
  // The child's answer: its errno.
  const pid_t child = ::fork();
  if (child == 0) {
    const auto taken = take_own_view();
    ::_exit(taken ? 0 : std::max(1, taken.error().system_errno()));
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return refused("trying it in a child");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return fail(ErrorKind::kDenied,
              "making mounts of an executor's own: " +
                  base::system_text(WIFEXITED(status) ? WEXITSTATUS(status) : EFAULT));
}

}  // namespace sublet::executor
