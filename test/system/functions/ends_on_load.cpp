// Loading this ends the process, in the way that END says.
#include <sublet/function.hpp>

#include <unistd.h>

#include <csignal>
#include <cstdlib>

__attribute__((constructor)) static void end_it() {
  END;
}

SUBLET_FUNCTION(never, const std::uint64_t& in, std::uint64_t& out) {
  out = in;
}
