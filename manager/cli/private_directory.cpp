#include <base/node_identity.hpp>
#include <base/system_text.hpp>
#include <cli/private_directory.hpp>
#include <common/listening_socket.hpp>

#include <fcntl.h>
#include <sodium/randombytes.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace sublet::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "private-";
constexpr const char* kLock = "/lock";

std::string random_name() {
  constexpr char kDigits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::string name = kPrefix + std::to_string(::getpid()) + "-";
  for (int i = 0; i < 8; ++i) name += kDigits[::randombytes_uniform(36)];
  return name;
}

base::Fd lock_file(const std::string& directory, int flags) {
  base::Fd fd(::open((directory + kLock).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600));
  if (fd.valid() && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) fd.reset();
  return fd;
}

/// A directory whose lock can be had belongs to nobody any more. One without a lock is being made.
void remove_abandoned(const std::string& parent) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(parent, ignored)) {
    if (!entry.path().filename().string().starts_with(kPrefix)) continue;
    const base::Fd lock = lock_file(entry.path().string(), 0);
    if (lock.valid()) fs::remove_all(entry.path(), ignored);
  }
}

}  // namespace

Result<PrivateDirectory> PrivateDirectory::make() {
  const std::string parent = base::runtime_directory();
  if (auto made = manager::make_private_directory(parent); !made) {
    return tl::unexpected<Error>(made.error());
  }
  remove_abandoned(parent);
  PrivateDirectory directory;
  const std::string path = parent + "/" + random_name();
  if (auto made = manager::make_private_directory(path); !made) {
    return tl::unexpected<Error>(made.error());
  }
  directory.path_ = path;
  directory.lock_ = lock_file(path, O_CREAT);
  if (!directory.lock_.valid()) {
    return fail(ErrorKind::kInternal, "locking " + path + kLock + ": " + base::system_text(errno),
                errno);
  }
  return directory;
}

PrivateDirectory::~PrivateDirectory() {
  if (path_.empty()) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace sublet::cli
