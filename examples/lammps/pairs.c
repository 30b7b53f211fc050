#include "pairs.h"

#include <math.h>
#include <string.h>

/* Within half a box of each other, which is how far its nearest image is at most. */
static double nearest(double distance, double box) {
  return distance - box * nearbyint(distance / box);
}

void count_pairs(const struct frame* frame, const double* positions, struct histogram* counts) {
  const double within = frame->reach * frame->reach;
  memset(counts, 0, sizeof *counts);
  for (int64_t i = frame->first; i < frame->last; ++i) {
    const double* const a = positions + 3 * i;
    for (int64_t j = i + 1; j < frame->atoms; ++j) {
      const double* const b = positions + 3 * j;
      const double x = nearest(a[0] - b[0], frame->box);
      const double y = nearest(a[1] - b[1], frame->box);
      const double z = nearest(a[2] - b[2], frame->box);
      const double squared = x * x + y * y + z * z;
      if (squared < within) ++counts->pairs[(int)(sqrt(squared) / frame->reach * kBins)];
    }
  }
}
