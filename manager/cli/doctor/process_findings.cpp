#include <base/fd.hpp>
#include <base/system_text.hpp>
#include <cli/doctor/process_findings.hpp>
#include <executor_manager/container_runtime.hpp>
#include <executor_manager/memory_cgroup.hpp>

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace sublet::cli {
namespace {

Finding pidfd() {
  const base::Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  const int error = fd.valid() ? 0 : errno;
  if (error == 0 && ::syscall(SYS_pidfd_send_signal, fd.get(), 0, nullptr, 0) == 0) {
    return {Grade::kOk, "pidfd", "can be opened and signalled"};
  }
  const char* const call = error == 0 ? "pidfd_send_signal" : "pidfd_open";
  return {Grade::kNote, "pidfd", base::call_text(call, error == 0 ? errno : error),
          "Linux 5.4 or later, and a system call filter that lets it pass",
          "update the kernel or the container's runtime: until then ends of executors are noticed "
          "by looking, later"};
}

/// By making one, as an executor manager does; for version 2 this process moves into a child first.
Finding memory_cgroup() {
  std::string why;
  const auto parent = manager::MemoryCgroupParent::find(why);
  constexpr std::uint64_t kLimit = std::uint64_t{64} << 20;
  if (parent != nullptr) {
    const auto made = manager::MemoryCgroup::create(*parent, kLimit);
    if (made) {
      return {Grade::kOk, "memory cgroup",
              "version " + std::to_string(parent->version()) + ", can be made and limited in " +
                  parent->directory()};
    }
    why = made.error().what();
  }
  return {
      Grade::kNote, "memory cgroup", why,
      "a cgroup of the executor manager's own in which it may make others with a memory limit",
      "start it by systemd with Delegate=yes, or as root; without it a manager looks ten times a "
      "second at how much its executors use"};
}

Finding containers() {
  const auto runtime = manager::ContainerRuntime::find();
  if (runtime) return {Grade::kOk, "containers", "executors can run in Podman's"};
  return {Grade::kAbsent, "containers", runtime.error().what(),
          "Podman and crun, for executor managers with --isolation container"};
}

}  // namespace

Findings process_findings() {
  return {pidfd(), memory_cgroup(), containers()};
}

}  // namespace sublet::cli
