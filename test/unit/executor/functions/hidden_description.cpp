// Typed functions; the linker is told to export these and hide all else, their descriptions too.
#include <sublet/function.hpp>

#include <numeric>

SUBLET_FUNCTION(add_one, const std::uint64_t& in, std::uint64_t& out) {
  out = in + 1;
}

SUBLET_CALL_FUNCTION(sum_of, sublet::FunctionCall& call) {
  const auto in = call.input<std::uint64_t>();
  call.output<std::uint64_t>(1)[0] = std::accumulate(in.begin(), in.end(), std::uint64_t{0});
}
