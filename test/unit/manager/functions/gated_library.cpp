// A library whose loading its test can hold up: the constructor tells that it runs, then waits
// until it is let on. Both by a byte through a FIFO that the environment names.

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace {

__attribute__((constructor)) void wait_at_the_gate() {
  const char* const entered = std::getenv("SUBLET_TEST_ENTERED");
  const char* const let_on = std::getenv("SUBLET_TEST_LET_ON");
  if (entered == nullptr || let_on == nullptr) return;
  char byte = 'e';
  const int out = ::open(entered, O_WRONLY | O_CLOEXEC);
  const bool told = ::write(out, &byte, 1) == 1;
  ::close(out);
  const int in = ::open(let_on, O_RDONLY | O_CLOEXEC);
  if (!told || ::read(in, &byte, 1) != 1) std::abort();
  ::close(in);
}

}  // namespace

extern "C" std::uint32_t gated(void*, std::uint32_t, void*) {
  return 0;
}
