#include <base/fd.hpp>
#include <base/system_text.hpp>
#include <executor/system_call_filter.hpp>

#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>

namespace sublet::executor {
namespace {

constexpr std::array kRefused{
    // Other processes, and their memory.
    "kcmp", "move_pages", "migrate_pages", "pidfd_getfd", "process_madvise", "process_vm_readv",
    "process_vm_writev", "ptrace",
    // What files there are.
    "chroot", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr",
    "move_mount", "open_by_handle_at", "open_tree", "pivot_root", "quotactl", "quotactl_fd",
    "swapoff", "swapon", "umount", "umount2",
    // Namespaces: clone's are below.
    "setns", "unshare",
    // The kernel and its clocks.
    "acct", "adjtimex", "bpf", "clock_adjtime", "clock_settime", "create_module", "delete_module",
    "finit_module", "get_kernel_syms", "init_module", "ioperm", "iopl", "kexec_file_load",
    "kexec_load", "lookup_dcookie", "nfsservctl", "perf_event_open", "query_module", "reboot",
    "setdomainname", "sethostname", "settimeofday", "syslog", "uselib", "userfaultfd", "vhangup",
    "vm86", "vm86old",
    // Keys.
    "add_key", "keyctl", "request_key"};

/// Programs do without them: clone3 has its flags in memory, where no filter sees them, and what is
/// asked for through io_uring passes by all filters.
constexpr std::array kUnknown{"clone3", "io_uring_enter", "io_uring_register", "io_uring_setup"};

constexpr std::array kNamespaces{CLONE_NEWCGROUP, CLONE_NEWIPC,  CLONE_NEWNET, CLONE_NEWNS,
                                 CLONE_NEWPID,    CLONE_NEWUSER, CLONE_NEWUTS};

tl::unexpected<Error> cannot(const std::string& doing, int error) {
  return fail(ErrorKind::kUnsupported,
              doing + ": " + base::system_text(error) +
                  "; start the executor manager with --isolation process to do without a filter",
              error);
}

/// 0, or the negative errno of libseccomp.
int add_rules(scmp_filter_ctx rules) {
  const auto refuse = [rules](const char* name, int error, auto... arguments) {
    const int number = ::seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) return 0;  // younger than the library
    const int done = ::seccomp_rule_add(rules, SCMP_ACT_ERRNO(static_cast<unsigned>(error)), number,
                                        sizeof...(arguments), arguments...);
    return done == -EDOM ? 0 : done;  // not of this architecture
  };
  for (const char* const name : kRefused) {
    if (const int error = refuse(name, EPERM); error < 0) return error;
  }
  for (const char* const name : kUnknown) {
    if (const int error = refuse(name, ENOSYS); error < 0) return error;
  }
  for (const int flag : kNamespaces) {
    const auto bit = static_cast<scmp_datum_t>(flag);
    if (const int error = refuse("clone", EPERM, scmp_arg_cmp{0, SCMP_CMP_MASKED_EQ, bit, bit});
        error < 0)
      return error;
  }
  // Types into the terminal of whoever started the manager.
  return refuse("ioctl", EPERM, scmp_arg_cmp{1, SCMP_CMP_MASKED_EQ, 0xFFFFFFFF, TIOCSTI});
}

}  // namespace

Result<SystemCallFilter> SystemCallFilter::make() {
  const std::unique_ptr<void, decltype(&::seccomp_release)> rules(::seccomp_init(SCMP_ACT_ALLOW),
                                                                  &::seccomp_release);
  if (!rules) return cannot("making a filter of system calls", ENOMEM);
  // A tree, not a list that each call walks along.
  (void)::seccomp_attr_set(rules.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  if (const int error = add_rules(rules.get()); error < 0) {
    return cannot("making a filter of system calls", -error);
  }
  // The library writes a program only into a file.
  const base::Fd file(::memfd_create("sublet-filter", MFD_CLOEXEC));
  if (!file.valid()) return cannot("making a filter of system calls (memfd_create)", errno);
  if (const int error = ::seccomp_export_bpf(rules.get(), file.get()); error < 0) {
    return cannot("writing a filter of system calls", -error);
  }
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  SystemCallFilter filter;
  filter.program_.resize(static_cast<std::size_t>(size) / sizeof(sock_filter));
  if (::pread(file.get(), filter.program_.data(), static_cast<std::size_t>(size), 0) != size) {
    return cannot("reading a filter of system calls", errno);
  }
  return filter;
}

Result<void> SystemCallFilter::enforce() const {
  sock_fprog program{};
  program.len = static_cast<unsigned short>(program_.size());
  program.filter = const_cast<sock_filter*>(program_.data());
  // Executors of different users are different processes: nothing is to be slowed down for what
  // one could guess of itself.
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) ==
      0) {
    return {};
  }
  return cannot("putting a filter of system calls in force (seccomp)", errno);
}

}  // namespace sublet::executor
