#pragma once

#include <cstdint>

/// One piece of the integral of 4 / (1 + x^2) over [0, 1], which is pi.
struct Slice {
  double from;
  double width;
  std::uint64_t points;
};
