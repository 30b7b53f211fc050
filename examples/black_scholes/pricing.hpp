#pragma once

#include <cstddef>

namespace black_scholes {

/// A European option on an asset that pays no dividend. A plain structure: it travels, and lies in
/// files, as its bytes.
struct Option {
  double spot;
  double strike;
  double rate;        // a year, continuously compounded
  double volatility;  // a year
  double maturity;    // years
};
static_assert(sizeof(Option) == 40);

struct Price {
  double call;
  double put;
};
static_assert(sizeof(Price) == 16);

/// The Black-Scholes prices of `count` options. Call and put are computed apart, so that put-call
/// parity is a check of them and not a consequence.
///
/// There is one copy of this code, in libblack_scholes_functions.so: the ranks link it and the
/// executors load it, so who prices an option makes no difference to a single bit of its price (on
/// nodes of one kind: the C library picks its exp() and log() by what the processor can do).
__attribute__((visibility("default"))) void price_options(const Option* options, std::size_t count,
                                                          Price* prices) noexcept;

/// The file of the shared object that price_options is in: what is sent to the executors.
__attribute__((visibility("default"))) const char* pricing_library();

}  // namespace black_scholes
