#include "slice.h"
#include <sublet/function.h>

/* The midpoint rule for the integral of 4 / (1 + x²), over some of the steps between 0 and 1. */
SUBLET_C_FUNCTION(integrate, call) {
  const struct slice* slice = SUBLET_C_INPUT(call, struct slice);
  double* sum = SUBLET_C_OUTPUT(call, double, 1);
  if (slice == NULL) return sublet_call_fail(call, 1, "a slice is expected");
  if (sum == NULL) return SUBLET_OUTPUT_TOO_LARGE;
  *sum = 0;
  for (int64_t i = slice->begin; i < slice->end; ++i) {
    const double x = ((double)i + 0.5) / (double)slice->steps;
    *sum += 4 / (1 + x * x) / (double)slice->steps;
  }
  return 0;
}
