// What the soak of own_replies_test.cpp calls.

#include "own_replies_work.hpp"
#include <sublet/function.hpp>

#include <cstdlib>
#include <cstring>
#include <stdexcept>

using sublet::test::Action;
using sublet::test::Order;

SUBLET_CALL_FUNCTION(work, sublet::FunctionCall& call) {
  const auto in = call.input<std::uint8_t>();
  Order order;
  std::memcpy(&order, in.data(), sizeof(order));
  if (order.action == Action::kCrash) std::abort();
  if (order.action == Action::kThrow) throw std::runtime_error("asked to throw");
  if (order.action == Action::kOverrun) {
    volatile int spins = 0;
    for (;;) spins = spins + 1;
  }
  const auto payload = in.subspan(sizeof(order));
  if (sublet::test::wrong_bytes(payload, sublet::test::input_number(order.number)) != 0) {
    throw sublet::FunctionError("the input is not that of its call");
  }
  const auto out = call.output<std::uint8_t>(order.out_size);
  sublet::test::fill_bytes({out.data(), out.size()}, sublet::test::output_number(order.number));
}

SUBLET_CALL_FUNCTION(nothing, sublet::FunctionCall& call) {
  if (call.input<std::uint8_t>().size() != 0) throw sublet::FunctionError("there is an input");
}
