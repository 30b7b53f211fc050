#include "slice.hpp"
#include <sublet/function.hpp>

SUBLET_FUNCTION(integrate, const Slice& slice, double& area) {
  const double step = slice.width / static_cast<double>(slice.points);
  double sum = 0;
  for (std::uint64_t i = 0; i < slice.points; ++i) {
    const double x = slice.from + (static_cast<double>(i) + 0.5) * step;
    sum += 4 / (1 + x * x);
  }
  area = sum * step;
}
