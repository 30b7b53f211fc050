// What the ranks of the tests offload.

#include <sublet/function.hpp>

#include <algorithm>

SUBLET_FUNCTION(twice, const double& value, double& result) {
  result = 2 * value;
}

// Any number of doubles in; each doubled, out.
SUBLET_CALL_FUNCTION(twice_each, sublet::FunctionCall& call) {
  const auto in = call.input<double>();
  const auto out = call.output<double>(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) out[i] = 2 * in[i];
}

SUBLET_CALL_FUNCTION(echo_bytes, sublet::FunctionCall& call) {
  const auto in = call.input<char>();
  const auto out = call.output<char>(in.size());
  std::copy(in.begin(), in.end(), out.begin());
}

// Runs until somebody else changes the first byte of its input, which must lie in shared memory.
SUBLET_CALL_FUNCTION(wait_for_byte, sublet::FunctionCall& call) {
  const char* byte = call.input<char>().data();
  while (__atomic_load_n(byte, __ATOMIC_ACQUIRE) == 0) {
  }
  call.output<char>(1)[0] = 1;
}
