#include "pairs.h"
#include <sublet/function.h>

/* The pairs of a frame, counted on a worker. */
SUBLET_C_FUNCTION(pair_correlation, call) {
  struct histogram* counts = SUBLET_C_OUTPUT(call, struct histogram, 1);
  const size_t all = SUBLET_C_COUNT(call, char);
  const char* const bytes = SUBLET_C_INPUTS(call, char);
  const struct frame* const frame = all < sizeof *frame ? NULL : (const struct frame*)bytes;
  if (frame == NULL || frame->atoms < 0 || frame->first < 0 || frame->first > frame->last ||
      frame->last > frame->atoms ||
      (all - sizeof *frame) / (3 * sizeof(double)) < (size_t)frame->atoms) {
    return sublet_call_fail(call, 1, "a frame and the positions of its atoms are expected");
  }
  if (counts == NULL) return SUBLET_OUTPUT_TOO_LARGE;
  count_pairs(frame, (const double*)(frame + 1), counts);
  return 0;
}
