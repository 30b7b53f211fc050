#include <base/system_text.hpp>

#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <optional>

namespace sublet::base {
namespace {

/// Nothing when there is none.
template <class Resource>
std::optional<unsigned long long> limit_of(Resource resource) noexcept {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return limit.rlim_cur;
}

std::string in_kib(unsigned long long bytes) {
  return std::to_string(bytes >> 10) + " KiB";
}

}  // namespace

std::string system_text(int error) {
  std::string text = std::strerror(error);
  if (error == EMFILE) {
    if (const auto most = limit_of(RLIMIT_NOFILE)) {
      text += " (this process may have " + std::to_string(*most) + " open, ulimit -n)";
    }
  } else if (error == ENFILE) {
    text += " (the whole system's limit, sysctl fs.file-max)";
  } else if (error == EFBIG) {
    if (const auto most = limit_of(RLIMIT_FSIZE)) {
      text += " (the file size limit, ulimit -f, is " + in_kib(*most) +
              " and holds for shared memory too; raise it)";
    }
  } else if (error == ENOMEM) {
    if (const auto most = limit_of(RLIMIT_AS)) {
      text += " (this process may have " + in_kib(*most) + " of address space, ulimit -v)";
    }
  }
  return text;
}

std::string start_text(int error) {
  std::string text = system_text(error);
  if (error == EPERM || error == ENOSYS) {
    return text +
           " (clone or execve is refused, perhaps by a system call filter such as a"
           " container's, which must let clone3 pass or say ENOSYS)";
  }
  if (error != EAGAIN) return text;
  const auto most = limit_of(RLIMIT_NPROC);
  text += " (";
  text += most ? "this user may have " + std::to_string(*most) + " threads and processes, ulimit -u"
               : std::string("a limit on threads: pids.max of the cgroup, or kernel.threads-max");
  // A stack that cannot be mapped is told as EAGAIN too.
  if (const auto data = limit_of(RLIMIT_DATA)) {
    text += "; for its stack this process may have " + in_kib(*data) + " of data, ulimit -d";
  }
  if (const auto space = limit_of(RLIMIT_AS)) {
    text +=
        "; for its stack this process may have " + in_kib(*space) + " of address space, ulimit -v";
  }
  return text + ")";
}

std::string call_text(const char* call, int error) {
  std::string text = std::string(call) + ": " + system_text(error);
  if (error == ENOSYS || error == EPERM) {
    text += " (refused by a system call filter such as a container's, or unknown to this kernel)";
  }
  return text;
}

bool may_have_file_of(unsigned long long size) noexcept {
  const auto most = limit_of(RLIMIT_FSIZE);
  if (!most || size <= *most) return true;
  errno = EFBIG;
  return false;
}

}  // namespace sublet::base
