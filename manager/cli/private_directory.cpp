#include <base/node_identity.hpp>
#include <base/system_text.hpp>
#include <cli/private_directory.hpp>
#include <common/listening_socket.hpp>

#include <fcntl.h>
#include <sodium/crypto_generichash.h>
#include <sodium/randombytes.h>
#include <sodium/utils.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace sublet::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "private-";
constexpr const char* kLock = "/lock";

/// Short: the path of a Unix socket has 107 characters at most.
std::string name_of(const std::string& job) {
  std::array<unsigned char, crypto_generichash_BYTES_MIN> id{};
  if (job.empty()) {
    ::randombytes_buf(id.data(), id.size());
  } else {
    ::crypto_generichash(id.data(), id.size(), reinterpret_cast<const unsigned char*>(job.data()),
                         job.size(), nullptr, 0);
  }
  constexpr std::size_t kBytes = 8;
  std::array<char, 2 * kBytes + 1> hex{};
  ::sodium_bin2hex(hex.data(), hex.size(), id.data(), kBytes);
  return kPrefix + std::string(hex.data());
}

std::string path_of(const std::string& job) {
  return base::runtime_directory() + "/" + name_of(job);
}

/// Not valid when it is somebody else's, or was removed meanwhile.
base::Fd lock_file(const std::string& directory, int flags) {
  const std::string path = directory + kLock;
  base::Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600));
  if (!fd.valid()) return fd;
  struct stat locked {};
  struct stat there {};
  int error = ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  const bool same = error == 0 && ::fstat(fd.get(), &locked) == 0 &&
                    ::stat(path.c_str(), &there) == 0 && locked.st_ino == there.st_ino &&
                    locked.st_dev == there.st_dev;
  if (error == 0 && !same) error = EWOULDBLOCK;
  if (error != 0) {
    fd.reset();
    errno = error;
  }
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

Result<PrivateDirectory> PrivateDirectory::make(const std::string& job) {
  const std::string parent = base::runtime_directory();
  if (auto made = manager::make_private_directory(parent); !made) {
    return tl::unexpected<Error>(made.error());
  }
  remove_abandoned(parent);
  PrivateDirectory directory;
  const std::string path = path_of(job);
  if (auto made = manager::make_private_directory(path); !made) {
    return tl::unexpected<Error>(made.error());
  }
  directory.lock_ = lock_file(path, O_CREAT);
  if (!directory.lock_.valid()) {
    const int error = errno;
    const bool taken = error == EWOULDBLOCK || error == ENOENT;  // or just removed by another
    if (taken) {
      return fail(ErrorKind::kOverloaded,
                  "locking " + path + kLock + ": " + base::system_text(error), error);
    }
    return fail(ErrorKind::kInternal,
                "locking " + path + kLock + ": " + base::call_text("flock", error) +
                    "; set XDG_RUNTIME_DIR to a directory of a local file system",
                error);
  }
  directory.path_ = path;
  return directory;
}

std::string PrivateDirectory::announced(const std::string& job) {
  const base::Fd fd(::open((path_of(job) + kLock).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  std::array<char, 256> text{};
  const ssize_t size = fd.valid() ? ::read(fd.get(), text.data(), text.size()) : 0;
  return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : std::string();
}

Result<void> PrivateDirectory::announce(const std::string& address) {
  const auto size = static_cast<ssize_t>(address.size());
  if (::pwrite(lock_.get(), address.data(), address.size(), 0) == size) return {};
  return fail(ErrorKind::kInternal, "writing " + path_ + kLock + ": " + base::system_text(errno),
              errno);
}

void PrivateDirectory::withdraw() noexcept {
  (void)!::ftruncate(lock_.get(), 0);
}

PrivateDirectory::~PrivateDirectory() {
  if (path_.empty()) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace sublet::cli
