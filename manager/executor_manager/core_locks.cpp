#include <base/log.hpp>
#include <base/system_text.hpp>
#include <executor_manager/core_locks.hpp>

#include <fcntl.h>

#include <cerrno>
#include <cstdlib>

namespace sublet::manager {

CoreLocks::CoreLocks(const std::string& directory) {
  const std::string path = directory + "/cores.lock";
  file_ = base::Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file_.valid()) {
    base::log().info("opening {}: {}; other jobs' private managers may use the same cores", path,
                     base::system_text(errno));
  }
}

bool CoreLocks::lock(const std::string& cpuset) noexcept {
  return set(cpuset, F_WRLCK);
}

void CoreLocks::unlock(const std::string& cpuset) noexcept {
  (void)set(cpuset, F_UNLCK);
}

bool CoreLocks::set(const std::string& cpuset, short type) noexcept {
  if (!file_.valid()) return true;
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = static_cast<off_t>(std::strtoul(cpuset.c_str(), nullptr, 10));
  range.l_len = 1;
  if (::fcntl(file_.get(), F_OFD_SETLK, &range) == 0) return true;
  return errno != EAGAIN && errno != EACCES;  // a file system without locks
}

}  // namespace sublet::manager
