// What the executors call: any number of options in, as many prices out. With buffers of the
// lease's arena on the other side nothing is copied.

#include "pricing.hpp"
#include <sublet/function.hpp>

SUBLET_CALL_FUNCTION(price_batch, sublet::FunctionCall& call) {
  const auto options = call.input<black_scholes::Option>();
  const auto prices = call.output<black_scholes::Price>(options.size());
  black_scholes::price_options(options.data(), options.size(), prices.data());
}
