// What the ranks of the tests offload.

#include <sublet/function.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>

SUBLET_FUNCTION(twice, const double& value, double& result) {
  result = 2 * value;
}

// Any number of doubles in; each doubled, out.
SUBLET_CALL_FUNCTION(twice_each, sublet::FunctionCall& call) {
  const auto in = call.input<double>();
  const auto out = call.output<double>(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) out[i] = 2 * in[i];
}

SUBLET_FUNCTION(fails, int, int&) {
  throw std::runtime_error("on purpose");
}

// Ends when there is a file of the name that is the input; says whether there has been one in time.
SUBLET_CALL_FUNCTION(await_file, sublet::FunctionCall& call) {
  const auto name = call.input<char>();
  const auto found = call.output<int>(1);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  do {
    found[0] = ::access(name.data(), F_OK) == 0 ? 1 : 0;
    std::this_thread::yield();
  } while (found[0] == 0 && std::chrono::steady_clock::now() < end);
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
