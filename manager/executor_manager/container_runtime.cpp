#include <base/printable_text.hpp>
#include <common/program_answer.hpp>
#include <executor_manager/container_runtime.hpp>
#include <executor_manager/zygote_process.hpp>

#include <pwd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

extern char** environ;

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswer = 10s;  ///< Of podman, and of the dynamic linker.

/// Where a container has what is the node's.
constexpr const char* kInside = "/run/sublet-node";

/// Of each container's /tmp, /var/tmp and /dev/shm, which are memory.
constexpr const char* kTemporaryBytes = "256m";

/// As the zygote's own environment: see the executor's main().
constexpr std::array kZygoteVariables{"SUBLET_ZYGOTE_PREPARED=1", "LD_BIND_NOW=1",
                                      "HWLOC_PLUGINS_PATH=/dev/null"};

/// Drivers of RDMA devices lie beside libibverbs.
constexpr std::array kDrivers{"/etc/libibverbs.d", "/usr/lib/x86_64-linux-gnu/libibverbs",
                              "/usr/lib/aarch64-linux-gnu/libibverbs", "/usr/lib64/libibverbs"};

tl::unexpected<Error> missing(const std::string& what, const std::string& remedy) {
  return fail(ErrorKind::kUnsupported, "executors cannot run in containers here: " + what + "; " +
                                           remedy + ", or take --isolation sandbox");
}

std::string found_in_path(const std::string& program) {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "/usr/bin:/bin" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string file = folder + "/" + program;
    if (!folder.empty() && ::access(file.c_str(), X_OK) == 0) return file;
  }
  return {};
}

/// A file of lines "NAME:FIRST:COUNT" has one for this user.
bool has_range(const char* file, const std::string& name) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const std::string whose = line.substr(0, line.find(':'));
    if (whose == name || whose == std::to_string(::geteuid())) return true;
  }
  return false;
}

/// What Podman needs where it is not root's.
Result<void> check_rootless() {
  if (::geteuid() == 0) return {};
  for (const char* const limit :
       {"/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/unprivileged_userns_clone"}) {
    std::ifstream file(limit);
    if (std::uint64_t most = 1; file >> most && most == 0) {
      return missing(std::string("users may make no user namespace (") + limit + " is 0)",
                     "have root set it");
    }
  }
  if (found_in_path("newuidmap").empty()) {
    return missing("newuidmap is not installed", "install the package uidmap");
  }
  const passwd* const account = ::getpwuid(::geteuid());
  const std::string name = account == nullptr ? "" : account->pw_name;
  for (const char* const file : {"/etc/subuid", "/etc/subgid"}) {
    if (has_range(file, name)) continue;
    return missing(std::string(file) + " has no range for this user",
                   "have root run `usermod --add-subuids 100000-165535 --add-subgids "
                   "100000-165535 " +
                       (name.empty() ? "USER" : name) + "`");
  }
  return {};
}

/// As the dynamic linker finds them; its own path among them.
Result<std::vector<std::pair<std::string, std::string>>> libraries_of(const std::string& program) {
  const auto answer = ask_program({"/usr/bin/env", "LD_TRACE_LOADED_OBJECTS=1", program}, kAnswer);
  if (!answer) return tl::unexpected<Error>(answer.error());
  std::vector<std::pair<std::string, std::string>> found;
  std::istringstream lines(answer->output);
  for (std::string line; std::getline(lines, line);) {
    const auto path = line.find('/');
    const auto end = line.find(" (0x");
    if (path == std::string::npos || end == std::string::npos) continue;
    const std::filesystem::path file(line.substr(path, end - path));
    const auto arrow = line.find(" => ");
    const auto begin = line.find_first_not_of(" \t");
    found.emplace_back(
        arrow == std::string::npos ? file.filename().string() : line.substr(begin, arrow - begin),
        file.string());
  }
  return found;
}

/// Podman lowers its own limit of processes to this, and without root's rights cannot raise it
/// again.
constexpr rlim_t kMostProcesses = 32768;

std::string limit_word(const char* name, int resource, rlim_t most = RLIM_INFINITY) {
  rlimit limit{};
  ::getrlimit(resource, &limit);
  limit = {std::min(limit.rlim_cur, most), std::min(limit.rlim_max, most)};
  const auto text = [](rlim_t value) {
    return value == RLIM_INFINITY ? std::string("-1") : std::to_string(value);
  };
  return std::string("--ulimit=") + name + "=" + text(limit.rlim_cur) + ":" + text(limit.rlim_max);
}

std::string mount_word(const std::string& from, const std::string& to, bool writable = false) {
  return "--mount=type=bind,source=" + from + ",destination=" + to + (writable ? "" : ",ro=true");
}

}  // namespace

Result<ContainerRuntime> ContainerRuntime::find() {
  ContainerRuntime runtime;
  runtime.podman_ = found_in_path("podman");
  if (runtime.podman_.empty()) return missing("podman is not installed", "install podman and crun");
  if (found_in_path("crun").empty()) return missing("crun is not installed", "install it");
  if (auto may = check_rootless(); !may) return tl::unexpected<Error>(std::move(may.error()));
  runtime.limits_ = {limit_word("nofile", RLIMIT_NOFILE),
                     limit_word("nproc", RLIMIT_NPROC, kMostProcesses),
                     limit_word("memlock", RLIMIT_MEMLOCK)};
  auto executor = find_executor();
  if (!executor) return tl::unexpected<Error>(std::move(executor.error()));
  runtime.executor_ = std::move(*executor);
  auto libraries = libraries_of(runtime.executor_);
  if (!libraries) return tl::unexpected<Error>(std::move(libraries.error()));
  runtime.libraries_ = std::move(*libraries);
  for (const auto& [name, path] : runtime.libraries_) {
    if (name.starts_with("ld-") || name.starts_with("ld64")) runtime.loader_ = name;
  }
  if (runtime.loader_.empty()) {
    return missing("the dynamic linker of " + runtime.executor_ + " is not found",
                   "run it with LD_TRACE_LOADED_OBJECTS=1 to see why");
  }
  return runtime;
}

Result<void> ContainerRuntime::check_image(const std::string& image) const {
  const auto answer = ask_program({podman_, "image", "exists", image}, kAnswer);
  if (!answer) return tl::unexpected<Error>(answer.error());
  if (answer->ended_well) return {};
  // It says nothing of an image that is not there; else what it says is about itself.
  if (const auto error = answer->output.find("Error: "); error != std::string::npos) {
    return fail(ErrorKind::kInternal, "looking for image " + image + " with podman: " +
                                          base::printable(answer->output.substr(
                                              error, answer->output.find('\n', error) - error)));
  }
  return fail(ErrorKind::kInvalid, "this node has no image " + image +
                                       ": get it with `podman pull " + image +
                                       "`, as the user that the executor manager runs as");
}

std::vector<std::string> ContainerRuntime::command(const ContainerPlace& place) const {
  const std::string inside = kInside;
  // Without cgroups of its own it stays in the manager's, with its cores; executors have theirs.
  std::vector<std::string> words{podman_,
                                 "run",
                                 "--rm",
                                 "--pull=never",
                                 "--preserve-fds=1",
                                 "--log-driver=passthrough",
                                 "--sig-proxy=false",
                                 "--cgroups=disabled",
                                 "--network=host",
                                 "--read-only",
                                 "--cap-drop=all",
                                 "--security-opt=no-new-privileges",
                                 "--workdir=/",
                                 "--entrypoint=",
                                 "--oom-score-adj=500",
                                 std::string("--shm-size=") + kTemporaryBytes};
  words.insert(words.end(), limits_.begin(), limits_.end());
  for (const char* const path : {"/tmp", "/var/tmp"}) {
    words.push_back(std::string("--tmpfs=") + path +
                    ":mode=1777,nosuid,nodev,size=" + kTemporaryBytes);
  }
  if (place.uid == ~std::uint32_t{0}) {
    words.emplace_back("--userns=keep-id");
  } else {
    words.push_back("--user=" + std::to_string(place.uid) + ":" + std::to_string(place.gid));
  }
  for (const char* const variable : kZygoteVariables) {
    words.push_back(std::string("--env=") + variable);
  }
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (configures_networks(*variable)) words.push_back(std::string("--env=") + *variable);
  }
  for (const auto& [name, path] : libraries_) {
    words.push_back(mount_word(path, inside + "/lib/" + name));
  }
  words.push_back(mount_word(executor_, inside + "/sublet-executor"));
  for (const char* const path : kDrivers) {
    if (::access(path, R_OK) == 0) words.push_back(mount_word(path, path));
  }
  if (::access("/dev/infiniband", F_OK) == 0) {
    words.push_back(mount_word("/dev/infiniband", "/dev/infiniband", true));
  }
  if (!shown_.empty()) words.push_back(mount_word(shown_, shown_, true));
  // By the node's own loader: the image's C library may be another, or none.
  words.insert(words.end(), {place.image, inside + "/lib/" + loader_, "--library-path",
                             inside + "/lib", inside + "/sublet-executor", "--zygote",
                             std::to_string(kZygoteFd), "--shared", "--container"});
  return words;
}

}  // namespace sublet::manager
