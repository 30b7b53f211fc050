#ifndef SUBLET_LOOP_H
#define SUBLET_LOOP_H

/* Loops shared out between this thread and the workers of a lease; part of <sublet.h>.
 *
 *   static void price_here(size_t first, size_t count, const void* in, void* out, void* context) {
 *     for (size_t i = 0; i < count; ++i) ((double*)out)[i] = price((const struct option*)in + i);
 *   }
 *
 *   sublet_loop loop = SUBLET_LOOP_INIT;
 *   loop.count = n;
 *   loop.in = options;  loop.in_item = sizeof options[0];
 *   loop.out = prices;  loop.out_item = sizeof prices[0];
 *   loop.here = price_here;
 *   code = sublet_offload_for(function, &loop, NULL);
 *
 * Parts go to the workers, as large as the rates of both sides make them; meanwhile this thread
 * computes parts of its own. A part whose worker is lost, or too slow at the end, is computed
 * again: a function may run twice for an item. <sublet/offload.hpp> has the same for C++. */

#include <sublet.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Computes `count` items from number `first` on, as the function does on a worker. `in` and `out`
 * are those of the part, or of its partial result. A C++ exception must not leave it. */
typedef void (*sublet_loop_body)(size_t first, size_t count, const void* in, void* out,
                                 void* context);
/* Takes in what a part has come to, in any order, on the thread that runs the loop. */
typedef void (*sublet_loop_combine)(const void* partial, void* context);

typedef struct sublet_loop {
  size_t count; /* of items */
  /* Bytes that each item reads at `in`: the function's input is those of its part. 0: its input is
   * two uint64_t, the first item's number and how many there are. */
  size_t in_item;
  const void* in;
  /* Bytes that each item writes at `out`: the function's output is those of its part. With
   * `combine`, that of a part as a whole, and `out` is not used. */
  size_t out_item;
  void* out;
  sublet_loop_combine combine; /* null: there is nothing to reduce */
  sublet_loop_body here;       /* null: all is left to the workers */
  void* context;               /* for both */
  size_t least_items;          /* that go together; 0 is 1 */
} sublet_loop;
#define SUBLET_LOOP_INIT \
  { 0, 0, NULL, 0, NULL, NULL, NULL, NULL, 0 }

/* Who did what. */
typedef struct sublet_loop_report {
  uint64_t here;       /* items this thread computed */
  uint64_t on_workers; /* items workers computed */
  uint64_t again;      /* of both: items whose call was lost, or overtaken at the end */
  uint64_t calls;
  int stopped;   /* 1: offloading did not pay, and was given up or not begun */
  char why[192]; /* what was measured then; the beginning of a longer text */
} sublet_loop_report;

/* Runs the loop to its end. In memory of the lease's buffers nothing is copied. `report` may be
 * null. Blocks. SUBLET_ERR_COUNT: a size is no memory's. SUBLET_ERR_ARGUMENT: `in` or `out` is null
 * where items have bytes. A failure of the function on a worker ends the loop with its code, and
 * outputs are in part written. With all workers lost this thread does the rest; without `here` that
 * is SUBLET_ERR_DISCONNECTED. */
SUBLET_C_API int sublet_offload_for(sublet_function* function, const sublet_loop* loop,
                                    sublet_loop_report* report);

#ifdef __cplusplus
}
#endif

#endif /* SUBLET_LOOP_H */
