/* Sublet from C: two workers integrate a slice each, both at the same time.
 *
 *   c_interface [LIBRARY] */

#include "slice.h"

#include <stdio.h>
#include <sublet.h>

enum { kWorkers = 2 };

/* What is open, so that one place frees it whatever went wrong. */
struct offload {
  sublet_session* session;
  sublet_lease* lease;
  sublet_function* integrate;
  sublet_invocation* calls[kWorkers];
};

static int open_all(struct offload* o, const char* library) {
  /* Finds a running resource manager, or starts a private one that ends with this program. */
  int code = sublet_session_open(NULL, &o->session);
  if (code == SUBLET_SUCCESS) code = sublet_lease_open(o->session, kWorkers, NULL, &o->lease);
  if (code == SUBLET_SUCCESS)
    code = sublet_function_open(o->lease, library, "integrate", NULL, &o->integrate);
  return code;
}

static int integrate(struct offload* o, double* pi) {
  const int64_t steps = 2000000;
  struct slice slices[kWorkers];
  double sums[kWorkers];
  int code = SUBLET_SUCCESS;
  for (int i = 0; i < kWorkers && code == SUBLET_SUCCESS; ++i) {
    slices[i] = (struct slice){i * steps / kWorkers, (i + 1) * steps / kWorkers, steps};
    code = sublet_call_async(o->integrate, &slices[i], sizeof slices[i], &sums[i], sizeof sums[i],
                             &o->calls[i]);
  }
  /* All that were started, even after a failure: they use the memory of this function. */
  *pi = 0;
  for (int i = 0; i < kWorkers && o->calls[i] != NULL; ++i) {
    const int ended = sublet_invocation_wait(o->calls[i], NULL);
    if (code == SUBLET_SUCCESS) code = ended;
    *pi += sums[i];
  }
  return code;
}

static void free_all(struct offload* o) {
  for (int i = 0; i < kWorkers; ++i) sublet_invocation_free(&o->calls[i]);
  sublet_function_free(&o->integrate);
  sublet_lease_free(&o->lease);
  sublet_session_free(&o->session);
}

int main(int argc, char** argv) {
  struct offload offload = {NULL, NULL, NULL, {NULL}};
  double pi = 0;
  int code = open_all(&offload, argc > 1 ? argv[1] : C_INTERFACE_FUNCTIONS);
  if (code == SUBLET_SUCCESS) code = integrate(&offload, &pi);
  if (code == SUBLET_SUCCESS) {
    printf("pi is about %.10f\n", pi);
  } else {
    fprintf(stderr, "c_interface: %s\n", sublet_last_error());
  }
  free_all(&offload);
  return code == SUBLET_SUCCESS && pi > 3.14159265 && pi < 3.14159266 ? 0 : 1;
}
