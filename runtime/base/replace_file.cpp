#include <base/fd.hpp>
#include <base/replace_file.hpp>

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace sublet::base {
namespace {

/// "PATH.0123456789abcdef"; empty when the system has no random bytes.
std::string draft_of(const std::string& path) {
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof(random), 0) != static_cast<ssize_t>(sizeof(random))) return {};
  std::array<char, 32> suffix{};
  std::snprintf(suffix.data(), suffix.size(), ".%016llx", static_cast<unsigned long long>(random));
  return path + suffix.data();
}

bool write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) content.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

Result<void> replace_file(const std::string& path, std::string_view content,
                          const std::string& what) {
  const auto failed = [&](int error) {
    return fail(ErrorKind::kInvalid, what + " '" + path + "': " + std::strerror(error), error);
  };
  const std::string draft = draft_of(path);
  if (draft.empty()) return failed(errno);
  Fd file(::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!file.valid()) return failed(errno);
  // A network file system may say only when the file is closed that the disk is full.
  const bool written = write_all(file.get(), content) && ::close(file.release()) == 0;
  if (!written || ::rename(draft.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(draft.c_str());
    return failed(error);
  }
  return {};
}

}  // namespace sublet::base
