// What the tests of surroundings call.
#include <sublet/function.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

SUBLET_FUNCTION(next, const std::uint64_t& in, std::uint64_t& out) {
  out = in + 1;
}

SUBLET_FUNCTION(crash, const std::uint64_t&, std::uint64_t&) {
  *reinterpret_cast<volatile int*>(0x1234) = 1;
}

// Leaves a process with a session and a parent of its own; its number.
SUBLET_FUNCTION(leave_process, const std::uint64_t&, std::uint64_t& out) {
  int ends[2];
  if (::pipe(ends) != 0) return;
  const pid_t middle = ::fork();
  if (middle == 0) {
    ::setsid();
    const std::uint64_t pid = static_cast<std::uint64_t>(::fork());
    if (pid == 0) {
      for (;;) ::pause();
    }
    (void)!::write(ends[1], &pid, sizeof(pid));
    ::_exit(0);
  }
  (void)!::read(ends[0], &out, sizeof(out));
  ::close(ends[0]);
  ::close(ends[1]);
}

// The executor's process goes on as another program, which never ends.
SUBLET_FUNCTION(become_program, const std::uint64_t&, std::uint64_t&) {
  ::execl("/bin/sleep", "sleep", "infinity", nullptr);
}

struct Look {
  char path[256];
};
struct Seen {
  std::int64_t result;  ///< Bytes that were read, or -errno.
  char text[4000];
};

// Reads a file, or where it is a link what it points to.
SUBLET_FUNCTION(look, const Look& in, Seen& out) {
  out.result = ::readlink(in.path, out.text, sizeof(out.text) - 1);
  if (out.result < 0 && errno == EINVAL) {
    const int fd = ::open(in.path, O_RDONLY | O_NONBLOCK);
    out.result = fd < 0 ? -errno : ::read(fd, out.text, sizeof(out.text) - 1);
    if (fd >= 0) ::close(fd);
  } else if (out.result < 0) {
    out.result = -errno;
  }
}

struct Me {
  std::uint64_t pid, uid, umask;
};

SUBLET_FUNCTION(who, const std::uint64_t&, Me& out) {
  out.pid = static_cast<std::uint64_t>(::getpid());
  out.uid = ::geteuid();
  out.umask = ::umask(0);
  ::umask(static_cast<mode_t>(out.umask));
}

// Prints a line as if it were the manager's, with bytes that terminals obey, and tries to empty the
// log.
SUBLET_FUNCTION(forge, const std::uint64_t&, std::uint64_t& out) {
  (void)!::write(2, "2026-01-01 error: all is lost\x1B[2J\n", 34);
  out = ::ftruncate(2, 0) == 0 ? 0 : static_cast<std::uint64_t>(errno);
}

SUBLET_FUNCTION(send_signal, const std::uint64_t& pid, std::uint64_t& out) {
  out = ::kill(static_cast<pid_t>(pid), SIGUSR1) == 0 ? 0 : static_cast<std::uint64_t>(errno);
}

struct Killing {
  int signal;  ///< 0: _exit.
  char log[248];
};

// Writes a line each time that it runs, and ends its executor.
SUBLET_FUNCTION(kill_executor, const Killing& how, std::uint64_t&) {
  const int fd = ::open(how.log, O_WRONLY | O_CREAT | O_APPEND, 0666);
  if (::write(fd, "x", 1) != 1) ::_exit(9);
  ::close(fd);
  if (how.signal == 0) ::_exit(3);
  ::raise(how.signal);
}
