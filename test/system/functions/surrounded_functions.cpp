// What the tests of surroundings call.
#include <sublet/function.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

SUBLET_FUNCTION(next, const std::uint64_t& in, std::uint64_t& out) {
  out = in + 1;
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
