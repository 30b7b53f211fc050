// What sublet-mpi-compare offloads.

#include <sublet/function.hpp>

#include <cstdint>
#include <numeric>

SUBLET_FUNCTION(noop, const std::uint64_t& value, std::uint64_t& result) {
  result = value;
}

SUBLET_CALL_FUNCTION(sum, sublet::FunctionCall& call) {
  const auto in = call.input<std::uint64_t>();
  call.output<std::uint64_t>(1)[0] = std::accumulate(in.begin(), in.end(), std::uint64_t{0});
}
