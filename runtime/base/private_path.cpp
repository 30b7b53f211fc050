#include <base/private_path.hpp>
#include <base/system_text.hpp>

#include <sys/stat.h>
#include <unistd.h>

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

}  // namespace sublet::base
