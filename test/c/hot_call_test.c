/* What a call through the C interface allocates: nothing. A round may meet a worker that has lost
 * its core, and then takes a longer way; the best of many rounds counts. */

#include "check.h"

#include <stdlib.h>
#include <sublet.h>

/* Of this thread; malloc_counter.c. */
uint64_t sublet_test_allocations(void);

enum { kRounds = 50, kCallsPerRound = 100 };

struct pair {
  double a, b;
};

static const struct pair pair = {6, 7};

static void call(sublet_function* multiply, sublet_invocation** unused) {
  double product = 0;
  sublet_reply reply;
  (void)unused;
  if (sublet_call(multiply, &pair, sizeof pair, &product, sizeof product, &reply) != 0) ++failures;
}

static void call_async(sublet_function* multiply, sublet_invocation** again) {
  double product = 0;
  if (sublet_call_async(multiply, &pair, sizeof pair, &product, sizeof product, again) != 0)
    ++failures;
  if (sublet_invocation_wait(*again, NULL) != 0) ++failures;
}

static uint64_t fewest_allocations(void (*one)(sublet_function*, sublet_invocation**),
                                   sublet_function* multiply) {
  sublet_invocation* again = NULL;
  uint64_t fewest = UINT64_MAX;
  one(multiply, &again); /* makes what is used again */
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t before = sublet_test_allocations();
    for (int i = 0; i < kCallsPerRound; ++i) one(multiply, &again);
    const uint64_t made = sublet_test_allocations() - before;
    if (made < fewest) fewest = made;
  }
  CHECK_OK(sublet_invocation_free(&again));
  return fewest;
}

int main(void) {
  sublet_session* session = NULL;
  sublet_lease* lease = NULL;
  sublet_function* multiply = NULL;
  CHECK_OK(sublet_session_open(NULL, &session));
  CHECK_OK(sublet_lease_open(session, 1, NULL, &lease));
  CHECK_OK(sublet_function_open(lease, C_FUNCTIONS, "multiply", NULL, &multiply));
  CHECK(sublet_test_allocations() > 0);
  CHECK(fewest_allocations(call, multiply) == 0);
  CHECK(fewest_allocations(call_async, multiply) == 0);
  CHECK_OK(sublet_function_free(&multiply));
  CHECK_OK(sublet_lease_free(&lease));
  CHECK_OK(sublet_session_free(&session));
  return failures > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
