#include <base/private_path.hpp>
#include <base/system_text.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace sublet::base {

Result<void> check_private_directory(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    const int error = errno;
    return fail(ErrorKind::kInternal, "looking at " + path + ": " + system_text(error), error);
  }
  if (S_ISDIR(info.st_mode) && info.st_uid == ::geteuid() && (info.st_mode & 0077) == 0) return {};
  return fail(ErrorKind::kDenied,
              path +
                  " must be a directory of this user that nobody else may enter (mode 0700); "
                  "remove it or set XDG_RUNTIME_DIR");
}

Result<void> check_owned_path(const std::string& path, const std::string& what,
                              const std::function<bool(uid_t)>& trusted) {
  const std::size_t slash = path.rfind('/');
  const std::string directory =
      slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0) return {};
  if (!trusted(info.st_uid)) {
    return fail(ErrorKind::kDenied, what + " lies in " + directory + ", which belongs to uid " +
                                        std::to_string(info.st_uid) +
                                        ": neither root nor this user");
  }
  const bool others_write = (info.st_mode & 0022) != 0;
  if (others_write && (info.st_mode & S_ISVTX) == 0) {
    return fail(ErrorKind::kDenied, what + " lies in " + directory +
                                        ", where others may write: `chmod go-w " + directory +
                                        "`, if nobody else has put it there");
  }
  return {};
}

}  // namespace sublet::base
