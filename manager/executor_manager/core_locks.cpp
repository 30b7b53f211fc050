#include <base/log.hpp>
#include <base/system_text.hpp>
#include <executor_manager/core_locks.hpp>

#include <fcntl.h>

#include <cerrno>
#include <cstdlib>

namespace sublet::manager {
namespace {

off_t byte_of_core(const std::string& cpuset) {
  return static_cast<off_t>(std::strtoul(cpuset.c_str(), nullptr, 10));
}

/// Beyond those of all cores: FNV-1a, in 40 bits, so that two GPUs of a node have different ones.
off_t byte_of_gpu(const std::string& uuid) {
  constexpr std::uint64_t kPrime = 0x100000001b3;
  constexpr off_t kFirst = off_t{1} << 40;
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : uuid) hash = (hash ^ static_cast<unsigned char>(c)) * kPrime;
  return kFirst + static_cast<off_t>(hash >> 24);
}

}  // namespace

CoreLocks::CoreLocks(const std::string& directory) {
  const std::string path = directory + "/cores.lock";
  file_ = base::Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file_.valid()) {
    base::log().info("opening {}: {}; other jobs' private managers may use the same cores", path,
                     base::system_text(errno));
  }
}

bool CoreLocks::lock(const std::string& cpuset) noexcept {
  return set(byte_of_core(cpuset), F_WRLCK);
}

void CoreLocks::unlock(const std::string& cpuset) noexcept {
  (void)set(byte_of_core(cpuset), F_UNLCK);
}

bool CoreLocks::lock_gpu(const std::string& uuid) noexcept {
  return set(byte_of_gpu(uuid), F_WRLCK);
}

void CoreLocks::unlock_gpu(const std::string& uuid) noexcept {
  (void)set(byte_of_gpu(uuid), F_UNLCK);
}

bool CoreLocks::set(off_t byte, short type) noexcept {
  if (!file_.valid()) return true;
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = byte;
  range.l_len = 1;
  if (::fcntl(file_.get(), F_OFD_SETLK, &range) == 0) return true;
  return errno != EAGAIN && errno != EACCES;  // a file system without locks
}

}  // namespace sublet::manager
