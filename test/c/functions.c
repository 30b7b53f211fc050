/* What the tests of the C interface call: a function library that only a C compiler has seen. */

#include <sublet/function.h>

#include <signal.h>
#include <string.h>

struct pair {
  double a, b;
};

SUBLET_C_FUNCTION(multiply, call) {
  const struct pair* pair = SUBLET_C_INPUT(call, struct pair);
  double* product = SUBLET_C_OUTPUT(call, double, 1);
  if (pair == NULL) return sublet_call_fail(call, 7, "a pair is expected");
  if (product == NULL) return SUBLET_OUTPUT_TOO_LARGE;
  *product = pair->a * pair->b;
  return 0;
}

SUBLET_C_FUNCTION(add_one_to_each, call) {
  const size_t count = SUBLET_C_COUNT(call, uint64_t);
  const uint64_t* in = SUBLET_C_INPUTS(call, uint64_t);
  uint64_t* out = SUBLET_C_OUTPUT(call, uint64_t, count);
  if (out == NULL) return SUBLET_OUTPUT_TOO_LARGE;
  for (size_t i = 0; i < count; ++i) out[i] = in[i] + 1;
  return 0;
}

SUBLET_C_FUNCTION(twice_each, call) {
  const size_t count = SUBLET_C_COUNT(call, double);
  const double* in = SUBLET_C_INPUTS(call, double);
  double* out = SUBLET_C_OUTPUT(call, double, count);
  if (out == NULL) return SUBLET_OUTPUT_TOO_LARGE;
  for (size_t i = 0; i < count; ++i) out[i] = 2 * in[i];
  return 0;
}

/* Of a loop without input: the sum of its part's numbers. */
SUBLET_C_FUNCTION(sum_range, call) {
  const uint64_t* range = SUBLET_C_INPUTS(call, uint64_t);
  uint64_t* sum = SUBLET_C_OUTPUT(call, uint64_t, 1);
  if (SUBLET_C_COUNT(call, uint64_t) != 2) return sublet_call_fail(call, 8, "no range");
  if (sum == NULL) return SUBLET_OUTPUT_TOO_LARGE;
  *sum = 0;
  for (uint64_t i = 0; i < range[1]; ++i) *sum += range[0] + i;
  return 0;
}

SUBLET_C_FUNCTION(crash, call) {
  (void)call;
  raise(SIGSEGV);
  return 0;
}

/* Ends only with its timeout. */
SUBLET_C_FUNCTION(spin, call) {
  volatile uint64_t turns = 0;
  (void)call;
  for (;;) ++turns;
}

/* In the rFaaS form. */
uint32_t reversed(void* args, uint32_t size, void* res) {
  for (uint32_t i = 0; i < size; ++i) ((char*)res)[i] = ((const char*)args)[size - 1 - i];
  return size;
}
