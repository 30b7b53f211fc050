// What the tests of surroundings call.
#include <sublet/function.hpp>

#include <fcntl.h>
#include <unistd.h>

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
