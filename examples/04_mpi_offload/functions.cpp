#include <sublet/function.hpp>

#include <numeric>

// Any number of doubles in, the sum of their squares out.
SUBLET_CALL_FUNCTION(sum_of_squares, sublet::FunctionCall& call) {
  const auto values = call.input<double>();
  call.output<double>(1)[0] = std::inner_product(values.begin(), values.end(), values.begin(), 0.0);
}
