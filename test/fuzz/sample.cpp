// A function library, for the ELF reader to begin with.

#include <sublet/function.hpp>

SUBLET_FUNCTION(fuzz_sum, const int& in, int& out) {
  out = in + 1;
}

SUBLET_EXPORT std::uint32_t fuzz_copy(void* args, std::uint32_t size, void* res);
std::uint32_t fuzz_copy(void* args, std::uint32_t size, void* res) {
  std::memcpy(res, args, size);
  return size;
}
