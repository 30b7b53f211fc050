// What the ranks of the tests offload.

#include <sublet/function.hpp>

SUBLET_FUNCTION(twice, const double& value, double& result) {
  result = 2 * value;
}

// Any number of doubles in; each doubled, out.
SUBLET_CALL_FUNCTION(twice_each, sublet::FunctionCall& call) {
  const auto in = call.input<double>();
  const auto out = call.output<double>(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) out[i] = 2 * in[i];
}
