#ifndef SLICE_H
#define SLICE_H

#include <stdint.h>

/* Steps begin to end, without the last, of `steps` in all. */
struct slice {
  int64_t begin, end, steps;
};

#endif /* SLICE_H */
