#include <base/node_identity.hpp>
#include <base/private_path.hpp>
#include <base/system_text.hpp>
#include <cli/doctor/directory_findings.hpp>
#include <resource_manager/refusal_text.hpp>

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace sublet::cli {
namespace {

constexpr const char* kWhat = "run-time directory";

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

std::string owner_and_mode(const struct stat& info) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "of uid %u, mode %04o", info.st_uid,
                info.st_mode & 07777U);
  return text.data();
}

Finding wrong(const std::string& found) {
  return {Grade::kFault, kWhat, found, "a directory of this user alone (mode 0700), or none yet",
          "remove it, or set XDG_RUNTIME_DIR to a directory of this user on a local file system"};
}

/// Where the sockets will be, or the directory that it will be made in.
Finding place() {
  const std::string path = base::runtime_directory();
  struct stat info {};
  const bool there = ::lstat(path.c_str(), &info) == 0;
  if (!there && errno != ENOENT) return wrong(path + ": " + base::system_text(errno));
  if (there && !base::check_private_directory(path)) {
    const bool directory = S_ISDIR(info.st_mode);
    return wrong(path + " is " + (directory ? "" : "no directory, ") + owner_and_mode(info));
  }
  const std::string parent = there ? path : parent_of(path);
  if (::access(parent.c_str(), W_OK | X_OK) != 0) {
    return wrong(parent + " cannot be written: " + base::system_text(errno));
  }
  Finding finding{Grade::kOk, kWhat, there ? path : path + ", which is made when it is needed"};
  const char* named = std::getenv("XDG_RUNTIME_DIR");
  if (named != nullptr && *named != '\0' && !path.starts_with(std::string(named) + "/")) {
    finding.grade = Grade::kNote;
    finding.found +=
        std::string(" (XDG_RUNTIME_DIR is ") + named + ", which is no directory of this user)";
    finding.wanted = "an XDG_RUNTIME_DIR of this user, as a login makes it, or none";
    finding.advice = "log in as this user (not by su), or unset XDG_RUNTIME_DIR";
  }
  return finding;
}

Finding space() {
  constexpr std::uint64_t kBytes = std::uint64_t{1} << 20;
  constexpr std::uint64_t kFiles = 64;
  const std::string path = base::runtime_directory();
  struct statvfs info {};
  std::string at = path;
  if (::statvfs(at.c_str(), &info) != 0) at = parent_of(path);
  if (::statvfs(at.c_str(), &info) != 0) {
    return {Grade::kFault, "space in it", at + ": " + base::system_text(errno), "a directory",
            "set XDG_RUNTIME_DIR to one of this user's"};
  }
  const std::uint64_t bytes = std::uint64_t{info.f_bavail} * info.f_frsize;
  const bool few_files = info.f_files != 0 && info.f_favail < kFiles;
  Finding finding{Grade::kOk, "space in it", manager::bytes_text(bytes) + " are free"};
  if (few_files) finding.found += ", and " + std::to_string(info.f_favail) + " files";
  if (bytes >= kBytes && !few_files) return finding;
  finding.grade = Grade::kFault;
  finding.wanted = "1 MiB and 64 files: for sockets, locks and address files";
  finding.advice = "remove what fills " + at + ", or set XDG_RUNTIME_DIR to another directory";
  return finding;
}

}  // namespace

Findings directory_findings() {
  return {place(), space()};
}

}  // namespace sublet::cli
