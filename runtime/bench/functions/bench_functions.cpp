// The functions that the benchmarks call.

#include <sublet/function.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

// Reads its input and writes as many bytes back.
SUBLET_CALL_FUNCTION(echo, sublet::FunctionCall& call) {
  const auto in = call.input<char>();
  const auto out = call.output<char>(in.size());
  std::memcpy(out.data(), in.data(), in.size());
}

// What `sublet bench single-source` compares a lambda with.
SUBLET_FUNCTION(add_one, std::uint64_t x, std::uint64_t& result) {
  result = x + 1;
}

// Looks at its input's first and last word and returns their sum: what an input costs to deliver.
SUBLET_CALL_FUNCTION(measure_ends, sublet::FunctionCall& call) {
  const auto in = call.input<char>();
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  const std::size_t word = std::min(in.size(), sizeof(first));
  std::memcpy(&first, in.data(), word);
  std::memcpy(&last, in.data() + in.size() - word, word);
  call.output<std::uint64_t>(1)[0] = first + last;
}

// The function of rFaaS's own latency benchmark, in its form: copies one int, returns `size`.
SUBLET_EXPORT std::uint32_t empty(void* args, std::uint32_t size, void* res) {
  std::memcpy(res, args, size < sizeof(int) ? size : sizeof(int));
  return size;
}
