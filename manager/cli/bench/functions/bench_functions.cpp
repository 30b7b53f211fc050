// The functions that the benchmarks call.

#include <sublet/function.hpp>

#include <cstdint>
#include <cstring>

// Reads its input and writes as many bytes back.
SUBLET_CALL_FUNCTION(echo, sublet::FunctionCall& call) {
  const auto in = call.input<char>();
  const auto out = call.output<char>(in.size());
  std::memcpy(out.data(), in.data(), in.size());
}

// The function of rFaaS's own latency benchmark, in its form: copies one int, returns `size`.
SUBLET_EXPORT std::uint32_t empty(void* args, std::uint32_t size, void* res) {
  std::memcpy(res, args, size < sizeof(int) ? size : sizeof(int));
  return size;
}
