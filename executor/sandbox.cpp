#include <base/account.hpp>
#include <base/system_text.hpp>
#include <executor/sandbox.hpp>
#include <wire/executor_protocol.hpp>

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <string>
#include <string_view>

namespace sublet::executor {
namespace {

/// Of 1000: above every process that has not asked for it, below "always first".
constexpr std::string_view kOutOfMemoryScore = "500";

constexpr const char* kWithoutRights =
    "; start the executor manager as an ordinary user, or give it CAP_SETUID and CAP_SETGID";

tl::unexpected<Error> system_error(ErrorKind kind, const std::string& attempted,
                                   const char* remedy = "") {
  const int number = errno;
  return fail(kind, attempted + ": " + base::system_text(number) + remedy, number);
}

/// The second last number of /proc/self/statm: pages of private writable memory, stack included.
Result<std::uint64_t> data_pages() {
  std::array<char, 256> text{};
  const int fd = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  const ssize_t size = fd < 0 ? -1 : ::read(fd, text.data(), text.size());
  if (fd >= 0) ::close(fd);
  if (size <= 0) return system_error(ErrorKind::kInternal, "reading /proc/self/statm");
  std::string_view line(text.data(), static_cast<std::size_t>(size));
  for (int i = 0; i < 5 && !line.empty(); ++i) {
    line.remove_prefix(std::min(line.size(), line.find(' ') + 1));
  }
  std::uint64_t pages = 0;
  if (std::from_chars(line.data(), line.data() + line.size(), pages).ec != std::errc()) {
    return fail(ErrorKind::kInternal, "/proc/self/statm has an unknown format");
  }
  return pages;
}

}  // namespace

Result<void> confine_zygote() {
  rlimit core{};
  ::getrlimit(RLIMIT_CORE, &core);
  core.rlim_cur = 0;  // executors decide about the rest
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::setrlimit(RLIMIT_CORE, &core) != 0) {
    return system_error(ErrorKind::kInternal, "giving up privileges (prctl, setrlimit)");
  }
  ::setsid();  // fails for the leader of a group, which is by itself already
  return {};
}

bool die_with_parent(pid_t parent) noexcept {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  return ::getppid() == parent;
}

void allow_locked_memory(std::uint64_t bytes) noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur >= bytes) return;
  const rlimit raised{bytes, std::max<rlim_t>(bytes, limit.rlim_max)};
  (void)::setrlimit(RLIMIT_MEMLOCK, &raised);
}

Result<void> change_identity(std::uint32_t uid, std::uint32_t gid) {
  if (gid == wire::kGroupOfAccount) {
    const auto group = base::group_of_account(uid);
    if (!group) return tl::unexpected<Error>(group.error());
    return change_identity(uid, *group);
  }
  if (gid != kKeepId) {
    // Groups are the user's rights too; only a privileged zygote has others to give up.
    if (::geteuid() == 0 && ::setgroups(0, nullptr) != 0) {
      return system_error(ErrorKind::kDenied, "giving up supplementary groups (setgroups)",
                          kWithoutRights);
    }
    if (::setresgid(gid, gid, gid) != 0) {
      return system_error(ErrorKind::kDenied,
                          "becoming group " + std::to_string(gid) + " (setresgid)", kWithoutRights);
    }
  }
  if (uid != kKeepId) {
    if (::setresuid(uid, uid, uid) != 0) {
      return system_error(ErrorKind::kDenied,
                          "becoming user " + std::to_string(uid) + " (setresuid)", kWithoutRights);
    }
  }
  return {};
}

void hide_from_others(bool hidden) noexcept {
  ::prctl(PR_SET_DUMPABLE, hidden ? 0 : 1, 0, 0, 0);
}

Result<MemoryLimit> MemoryLimit::above_now(std::uint64_t bytes) {
  MemoryLimit limit;
  if (bytes == 0) return limit;
  const auto pages = data_pages();
  if (!pages) return tl::unexpected<Error>(pages.error());
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t now = *pages * page;
  limit.most_bytes_ = bytes > RLIM_INFINITY - now ? RLIM_INFINITY : now + bytes;
  return limit;
}

Result<void> MemoryLimit::enforce() {
  if (most_bytes_ == 0) return {};
  rlimit limit{};
  ::getrlimit(RLIMIT_DATA, &limit);
  limit.rlim_max = std::min<rlim_t>(most_bytes_, limit.rlim_max);  // the manager's may be lower
  limit.rlim_cur = limit.rlim_max;
  most_bytes_ = 0;
  if (::setrlimit(RLIMIT_DATA, &limit) != 0) {
    return system_error(ErrorKind::kInternal, "limiting the memory of an executor");
  }
  return {};
}

OutOfMemoryChoice::OutOfMemoryChoice() noexcept
    : file_(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)) {}

void OutOfMemoryChoice::prefer() noexcept {
  if (!file_.valid()) return;
  (void)!::write(file_.get(), kOutOfMemoryScore.data(), kOutOfMemoryScore.size());
  file_.reset();
}

}  // namespace sublet::executor
