// What functions try that have no business with it: each gives 0, or the errno that it met.

#include <sublet/function.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

namespace {

using Number = std::uint64_t;

Number error_of(long result) {
  return result >= 0 ? 0 : static_cast<Number>(errno);
}

Number count_entries(const char* path) {
  DIR* const directory = ::opendir(path);
  if (directory == nullptr) return ~Number{0};
  Number count = 0;
  while (const dirent* const entry = ::readdir(directory)) count += entry->d_name[0] != '.' ? 1 : 0;
  ::closedir(directory);
  return count;
}

}  // namespace

SUBLET_FUNCTION(pid_here, const Number&, Number& out) {
  out = static_cast<Number>(::getpid());
}
SUBLET_FUNCTION(uid_here, const Number&, Number& out) {
  out = ::getuid();
}
SUBLET_FUNCTION(gid_here, const Number&, Number& out) {
  out = ::getgid();
}
SUBLET_FUNCTION(entries_of_tmp, const Number&, Number& out) {
  out = count_entries("/tmp");
}
SUBLET_FUNCTION(room_of_tmp, const Number&, Number& out) {
  struct statvfs info {};
  out = ::statvfs("/tmp", &info) == 0 ? Number{info.f_blocks} * info.f_frsize : 0;
}
SUBLET_FUNCTION(leaves_a_file, const Number&, Number& out) {
  const int fd = ::open("/tmp/sublet-test-left", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  out = error_of(fd);
  if (fd >= 0) ::close(fd);
}
SUBLET_FUNCTION(sees_process, const Number& pid, Number& out) {
  struct stat info {};
  out = error_of(::stat(("/proc/" + std::to_string(pid)).c_str(), &info));
}
SUBLET_FUNCTION(traces, const Number& pid, Number& out) {
  out = error_of(::ptrace(PTRACE_ATTACH, static_cast<pid_t>(pid), nullptr, nullptr));
}
SUBLET_FUNCTION(reads_memory, const Number& pid, Number& out) {
  char byte = 0;
  iovec mine{&byte, 1};
  iovec theirs{&byte, 1};
  out = error_of(::process_vm_readv(static_cast<pid_t>(pid), &mine, 1, &theirs, 1, 0));
}
SUBLET_FUNCTION(opens_memory, const Number& pid, Number& out) {
  const int fd = ::open(("/proc/" + std::to_string(pid) + "/mem").c_str(), O_RDWR | O_CLOEXEC);
  out = error_of(fd);
  if (fd >= 0) ::close(fd);
}
SUBLET_FUNCTION(signals, const Number& pid, Number& out) {
  out = error_of(::kill(static_cast<pid_t>(pid), SIGUSR1));
}
SUBLET_FUNCTION(mounts, const Number&, Number& out) {
  out = error_of(::mount("tmpfs", "/mnt", "tmpfs", 0, nullptr));
}
SUBLET_FUNCTION(makes_user_namespace, const Number&, Number& out) {
  out = error_of(::unshare(CLONE_NEWUSER));
}
SUBLET_FUNCTION(clones_namespace, const Number&, Number& out) {
  const long pid = ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, 0);
  if (pid == 0) ::_exit(0);
  out = error_of(pid);
}
SUBLET_FUNCTION(loads_bpf, const Number&, Number& out) {
  bpf_attr attributes{};
  out = error_of(::syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof(attributes)));
}
SUBLET_FUNCTION(uses_keys, const Number&, Number& out) {
  out = error_of(::syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -3, 1));
}
SUBLET_FUNCTION(watches_kernel, const Number&, Number& out) {
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  out = error_of(::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0));
}
SUBLET_FUNCTION(uses_io_uring, const Number&, Number& out) {
  char parameters[256] = {};
  out = error_of(::syscall(SYS_io_uring_setup, 1, parameters));
}
SUBLET_FUNCTION(types_into_terminal, const Number&, Number& out) {
  char letter = 'x';
  out = error_of(::ioctl(0, TIOCSTI, &letter));
}
SUBLET_FUNCTION(number_of_the_image, const Number&, Number& out) {
  out = 0;
  std::ifstream("/etc/sublet-test") >> out;
}
SUBLET_FUNCTION(entries_of_shm, const Number&, Number& out) {
  out = count_entries("/dev/shm");
}
SUBLET_FUNCTION(leaves_shared_memory, const Number&, Number& out) {
  const int fd = ::open("/dev/shm/sublet-test-left", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  out = error_of(fd);
  if (fd >= 0) ::close(fd);
}
SUBLET_FUNCTION(writes_to_the_root, const Number&, Number& out) {
  out = error_of(::open("/sublet-test-left", O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
}
/// Whether there is anything but this container's processes.
SUBLET_FUNCTION(processes_in_sight, const Number&, Number& out) {
  out = 0;
  DIR* const directory = ::opendir("/proc");
  if (directory == nullptr) return;
  while (const dirent* const entry = ::readdir(directory)) {
    out += entry->d_name[0] >= '0' && entry->d_name[0] <= '9' ? 1 : 0;
  }
  ::closedir(directory);
}
/// Of the cores that this worker may use: their number.
SUBLET_FUNCTION(cores_here, const Number&, Number& out) {
  cpu_set_t set;
  out = ::sched_getaffinity(0, sizeof(set), &set) == 0 ? static_cast<Number>(CPU_COUNT(&set)) : 0;
}
SUBLET_FUNCTION(dies, const Number&, Number&) {
  ::kill(::getpid(), SIGKILL);
}
