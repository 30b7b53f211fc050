// A function library: a shared object that exports functions. This one has the plainest form there
// is (rFaaS's): read `size` bytes at `args`, write the result at `res`, return its size.

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string>

extern "C" std::uint32_t greet(void* args, std::uint32_t size, void* res) {
  const std::string name(static_cast<const char*>(args), size);
  const std::string text =
      "Hello, " + name + ", from process " + std::to_string(::getpid()) + " on a leased core";
  std::memcpy(res, text.data(), text.size());
  return static_cast<std::uint32_t>(text.size());
}
