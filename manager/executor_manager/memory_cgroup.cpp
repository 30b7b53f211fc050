#include <base/fd.hpp>
#include <executor_manager/memory_cgroup.hpp>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

namespace sublet::manager {
namespace {

constexpr int kRemoveAttempts = 50;
constexpr int kRemovePauseMs = 10;
constexpr const char* kPrefix = "sublet-";  ///< Then the manager's pid, "-" and a number.

Result<void> write_file(const std::string& path, const std::string& text) {
  base::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd.valid() &&
      ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) {
    return {};
  }
  return fail(ErrorKind::kUnsupported,
              "writing '" + text + "' to " + path + ": " + std::strerror(errno), errno);
}

/// The path of this process in the hierarchy that `controller` belongs to ("" for version 2).
std::optional<std::string> own_cgroup(const std::string& controller) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers == ",," ? controller.empty()
                            : controllers.find("," + controller + ",") != std::string::npos) {
      return line.substr(second + 1);
    }
  }
  return std::nullopt;
}

/// Where a hierarchy is mounted.
std::optional<std::string> mount_point(const std::string& type, const std::string& option) {
  std::ifstream file("/proc/self/mounts");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string device;
    std::string directory;
    std::string kind;
    std::string options;
    words >> device >> directory >> kind >> options;
    if (kind != type) continue;
    if (option.empty() || ("," + options + ",").find("," + option + ",") != std::string::npos) {
      return directory;
    }
  }
  return std::nullopt;
}

bool can_make_child(const std::string& directory) {
  const std::string probe = directory + "/" + kPrefix + std::to_string(::getpid()) + "-probe";
  if (::mkdir(probe.c_str(), 0755) != 0) return false;
  ::rmdir(probe.c_str());
  return true;
}

bool has_word(const std::string& path, const std::string& word) {
  std::ifstream file(path);
  for (std::string w; file >> w;) {
    if (w == word) return true;
  }
  return false;
}

}  // namespace

MemoryCgroupParent::MemoryCgroupParent(std::string directory, int version)
    : directory_(std::move(directory)), version_(version) {}

std::unique_ptr<MemoryCgroupParent> MemoryCgroupParent::find(std::string& why) {
  if (auto mount = mount_point("cgroup", "memory")) {
    const std::string directory = *mount + own_cgroup("memory").value_or("/");
    // A container may show the root of the hierarchy as its own cgroup.
    for (const std::string& candidate : {directory, *mount}) {
      if (!can_make_child(candidate)) continue;
      auto parent = std::make_unique<MemoryCgroupParent>(candidate, 1);
      parent->remove_stale();
      return parent;
    }
    why = "no memory cgroup can be made in " + directory;
    return nullptr;
  }
  const auto mount = mount_point("cgroup2", "");
  const auto own = own_cgroup("");
  if (!mount || !own) {
    why = "no memory cgroup hierarchy is mounted";
    return nullptr;
  }
  const std::string directory = *mount + (*own == "/" ? "" : *own);
  if (!has_word(directory + "/cgroup.controllers", "memory")) {
    why = "the memory controller is not delegated to " + directory;
    return nullptr;
  }
  if (!has_word(directory + "/cgroup.subtree_control", "memory")) {
    // A cgroup with processes cannot hand controllers on: move into a child of our own first.
    const std::string leaf = directory + "/" + kPrefix + "manager";
    ::mkdir(leaf.c_str(), 0755);
    auto moved = write_file(leaf + "/cgroup.procs", std::to_string(::getpid()));
    if (moved) moved = write_file(directory + "/cgroup.subtree_control", "+memory");
    if (!moved) {
      why = moved.error().what();
      return nullptr;
    }
  }
  auto parent = std::make_unique<MemoryCgroupParent>(directory, 2);
  parent->remove_stale();
  return parent;
}

void MemoryCgroupParent::remove_stale() const {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    const long pid = std::strtol(name.c_str() + std::strlen(kPrefix), nullptr, 10);
    if (pid > 0 && ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) {
      ::rmdir(entry.path().c_str());  // refused while it has processes: then it is not stale
    }
  }
}

Result<MemoryCgroup> MemoryCgroup::create(const MemoryCgroupParent& parent,
                                          std::uint64_t limit_bytes) {
  static std::atomic<unsigned> counter{0};
  MemoryCgroup cgroup(parent.directory() + "/" + kPrefix + std::to_string(::getpid()) + "-" +
                          std::to_string(counter++),
                      parent.version());
  if (::mkdir(cgroup.directory_.c_str(), 0755) != 0) {
    const int error = errno;
    const std::string directory = std::exchange(cgroup.directory_, {});
    return fail(ErrorKind::kUnsupported,
                "making memory cgroup " + directory + ": " + std::strerror(error), error);
  }
  const char* limit = parent.version() == 1 ? "/memory.limit_in_bytes" : "/memory.max";
  if (auto ok = write_file(cgroup.directory_ + limit, std::to_string(limit_bytes)); !ok) {
    return tl::unexpected<Error>(ok.error());
  }
  return cgroup;
}

MemoryCgroup::MemoryCgroup(MemoryCgroup&& other) noexcept
    : directory_(std::exchange(other.directory_, {})), version_(other.version_) {}

MemoryCgroup::~MemoryCgroup() {
  if (directory_.empty()) return;
  // The kernel may take a moment to let go of a process that has been reaped.
  for (int attempt = 0; attempt < kRemoveAttempts; ++attempt) {
    if (::rmdir(directory_.c_str()) == 0 || errno != EBUSY) return;
    ::poll(nullptr, 0, kRemovePauseMs);
  }
}

Result<void> MemoryCgroup::add(pid_t pid) const {
  return write_file(directory_ + "/cgroup.procs", std::to_string(pid));
}

std::uint64_t MemoryCgroup::oom_kills() const {
  std::ifstream file(directory_ + (version_ == 1 ? "/memory.oom_control" : "/memory.events"));
  std::string key;
  std::uint64_t value = 0;
  while (file >> key >> value) {
    if (key == "oom_kill") return value;
  }
  return 0;
}

}  // namespace sublet::manager
