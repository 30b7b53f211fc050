#ifndef SUBLET_EXAMPLE_PAIRS_H
#define SUBLET_EXAMPLE_PAIRS_H

#include <stdint.h>

enum { kBins = 200 };

/* What a worker is told of a frame. The positions of all atoms follow, x y z of each. */
struct frame {
  double box;   /* length of an edge; the box is periodic */
  double reach; /* pairs beyond it do not count */
  int64_t atoms;
  int64_t first; /* pairs whose first atom is one of [first, last) */
  int64_t last;
};

/* How many pairs are how far apart: bin b has distances from b to b + 1 times reach / kBins. */
struct histogram {
  uint64_t pairs[kBins];
};

void count_pairs(const struct frame* frame, const double* positions, struct histogram* counts);

#endif
