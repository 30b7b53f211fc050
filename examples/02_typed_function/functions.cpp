// A typed function: the macro checks sizes, and what it throws reaches the caller as an error.

#include "quadratic.hpp"
#include <sublet/function.hpp>

#include <cmath>

SUBLET_FUNCTION(solve, const Quadratic& q, Roots& roots) {
  if (q.a == 0) throw sublet::FunctionError("not a quadratic equation: a is 0");
  const double discriminant = q.b * q.b - 4 * q.a * q.c;
  if (discriminant < 0) {
    roots = {0, 0, 0};
    return;
  }
  // The larger root first, without cancellation; the other from their product.
  const double sum = -(q.b + std::copysign(std::sqrt(discriminant), q.b)) / 2;
  roots.x1 = sum / q.a;
  roots.x2 = sum == 0 ? roots.x1 : q.c / sum;
  roots.count = discriminant == 0 ? 1 : 2;
}
