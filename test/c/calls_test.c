/* The C interface from a program that only a C compiler has seen, with a private manager. */

#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <sublet.h>

#define MOST_CALLS 40

struct pair {
  double a, b;
};

static sublet_function* find(sublet_lease* lease, const char* name, const char* option,
                             const char* value) {
  sublet_function* function = NULL;
  sublet_options* options = NULL;
  CHECK_OK(sublet_options_create(&options));
  if (option != NULL) CHECK_OK(sublet_options_set(options, option, value));
  CHECK_OK(sublet_function_open(lease, C_FUNCTIONS, name, options, &function));
  CHECK_OK(sublet_options_free(&options));
  CHECK(options == NULL);
  return function;
}

static void check_lease(sublet_session* session, sublet_lease* lease) {
  char manager[256] = "";
  size_t length = 0;
  CHECK_OK(sublet_session_manager(session, manager, sizeof manager, &length));
  CHECK(length == strlen(manager) && length > 0);
  char beginning[4];
  CHECK_OK(sublet_session_manager(session, beginning, sizeof beginning, NULL));
  CHECK(strlen(beginning) == 3 && strncmp(beginning, manager, 3) == 0);

  uint64_t id = 0;
  CHECK_OK(sublet_lease_id(lease, &id));
  CHECK(id != 0);
  size_t workers = 0;
  CHECK_OK(sublet_lease_workers(lease, &workers));
  CHECK(workers == 2);
  sublet_worker_info worker;
  CHECK_OK(sublet_lease_worker(lease, 1, &worker));
  CHECK(strlen(worker.node_name) > 0 && strlen(worker.cpuset) > 0);
  CHECK_CODE(SUBLET_ERR_COUNT, sublet_lease_worker(lease, 2, &worker));
  int64_t before = 0;
  int64_t after = 0;
  CHECK_OK(sublet_lease_expires_at(lease, &before));
  CHECK_OK(sublet_lease_extend(lease, 7200));
  CHECK_OK(sublet_lease_expires_at(lease, &after));
  CHECK(after > before);
  CHECK_CODE(SUBLET_ERR_COUNT, sublet_lease_extend(lease, -1));
}

static void check_calls(sublet_lease* lease) {
  sublet_function* multiply = find(lease, "multiply", "idempotent", "true");
  CHECK(strcmp(sublet_function_name(multiply), "multiply") == 0);
  const struct pair pair = {6, 7};
  double product = 0;
  sublet_reply reply;
  CHECK_OK(sublet_call(multiply, &pair, sizeof pair, &product, sizeof product, &reply));
  CHECK(product == 42 && reply.code == SUBLET_SUCCESS && reply.size == sizeof product);
  CHECK_OK(sublet_call(multiply, &pair, sizeof pair, &product, sizeof product, NULL));

  CHECK_CODE(SUBLET_ERR_FUNCTION,
             sublet_call(multiply, &pair, 3, &product, sizeof product, &reply));
  CHECK(reply.code == SUBLET_ERR_FUNCTION);
  CHECK(strstr(sublet_last_error(), "a pair is expected") != NULL);
  CHECK_CODE(SUBLET_ERR_OUTPUT_SIZE,
             sublet_call(multiply, &pair, sizeof pair, &product, 4, &reply));
  CHECK(reply.size == sizeof product);

  sublet_function* reversed = find(lease, "reversed", NULL, NULL);
  char text[4] = "";
  CHECK_OK(sublet_call(reversed, "abc", 3, text, sizeof text, &reply));
  CHECK(reply.size == 3 && memcmp(text, "cba", 3) == 0);

  CHECK_OK(sublet_function_free(&reversed));
  CHECK_OK(sublet_function_free(&multiply));
  CHECK(multiply == NULL);
  CHECK_OK(sublet_function_free(&multiply));

  sublet_function* none = NULL;
  CHECK_CODE(SUBLET_ERR_INVALID, sublet_function_open(lease, C_FUNCTIONS, "no_such", NULL, &none));
  CHECK(none == NULL && strstr(sublet_last_error(), "no_such") != NULL);
}

static void check_async(sublet_lease* lease) {
  sublet_function* add = find(lease, "add_one_to_each", NULL, NULL);
  sublet_buffer* buffer = NULL;
  void* memory = NULL;
  const size_t half = MOST_CALLS * sizeof(uint64_t);
  CHECK_OK(sublet_buffer_create(lease, 2 * half, &memory, &buffer));
  CHECK((uintptr_t)memory % 64 == 0);
  uint64_t* in = memory;
  uint64_t* out = in + MOST_CALLS;
  sublet_invocation* calls[MOST_CALLS] = {NULL};
  for (int round = 0; round < 2; ++round) { /* the second uses the handles again */
    for (size_t i = 0; i < MOST_CALLS; ++i) {
      in[i] = i + (uint64_t)round;
      out[i] = 0;
      CHECK_OK(sublet_call_async(add, &in[i], sizeof *in, &out[i], sizeof *out, &calls[i]));
    }
    for (size_t i = 0; i < MOST_CALLS; ++i) {
      sublet_reply reply;
      CHECK_OK(sublet_invocation_wait(calls[i], &reply));
      CHECK(reply.size == sizeof *out && out[i] == i + (uint64_t)round + 1);
    }
  }
  int ended = 0;
  CHECK_OK(sublet_invocation_poll(calls[0], &ended));
  CHECK(ended == 1);
  for (size_t i = 0; i < MOST_CALLS; ++i) CHECK_OK(sublet_invocation_free(&calls[i]));
  CHECK(calls[0] == NULL);

  /* One slot of one worker after the other, until none is free. */
  size_t taken = 0;
  int code = SUBLET_SUCCESS;
  while (taken < MOST_CALLS && code == SUBLET_SUCCESS) {
    code = sublet_call_try(add, 0, in, sizeof *in, &out[taken], sizeof *out, &calls[taken]);
    taken += code == SUBLET_SUCCESS;
  }
  CHECK(taken > 0);
  CHECK(code == SUBLET_SUCCESS || code == SUBLET_ERR_AGAIN);
  CHECK_OK(sublet_lease_wait_all(lease, -1));
  for (size_t i = 0; i < taken; ++i) CHECK_OK(sublet_invocation_wait(calls[i], NULL));
  for (size_t i = 0; i < MOST_CALLS; ++i) CHECK_OK(sublet_invocation_free(&calls[i]));
  CHECK_OK(sublet_buffer_free(&buffer));
  CHECK_OK(sublet_function_free(&add));

  CHECK_CODE(SUBLET_ERR_OVERLOADED, sublet_buffer_create(lease, (size_t)1 << 46, &memory, &buffer));
  CHECK(buffer == NULL);
}

static void count_up(const sublet_reply* reply, void* context) {
  if (reply->code == SUBLET_SUCCESS) ++*(int*)context;
}

static void check_continuations(sublet_lease* lease) {
  sublet_function* add = find(lease, "add_one_to_each", NULL, NULL);
  const uint64_t in = 1;
  uint64_t out[MOST_CALLS];
  int ended = 0;
  for (size_t i = 0; i < MOST_CALLS; ++i) {
    sublet_invocation* call = NULL;
    CHECK_OK(sublet_call_async(add, &in, sizeof in, &out[i], sizeof out[i], &call));
    CHECK_OK(sublet_invocation_then(&call, count_up, &ended));
    CHECK(call == NULL);
  }
  CHECK_OK(sublet_lease_progress(lease));
  CHECK_OK(sublet_lease_wait_all(lease, INT64_C(60000000000)));
  CHECK(ended == MOST_CALLS);
  CHECK_OK(sublet_function_free(&add));
}

static void check_batch(sublet_lease* lease) {
  sublet_function* multiply = find(lease, "multiply", NULL, NULL);
  struct pair in[MOST_CALLS];
  double out[MOST_CALLS] = {0};
  sublet_item items[MOST_CALLS];
  memset(items, 0, sizeof items);
  for (int i = 0; i < MOST_CALLS; ++i) {
    in[i].a = i;
    in[i].b = 2;
    items[i].in = &in[i];
    items[i].in_size = sizeof in[i];
    items[i].out = &out[i];
    items[i].out_capacity = sizeof out[i];
  }
  size_t failed = 1;
  CHECK_OK(sublet_batch(multiply, items, MOST_CALLS, -1, &failed));
  CHECK(failed == 0);
  for (int i = 0; i < MOST_CALLS; ++i) CHECK(out[i] == 2 * i && items[i].reply.code == 0);

  items[3].in_size = 1;
  items[5].in_size = 2;
  CHECK_CODE(SUBLET_ERR_FUNCTION, sublet_batch(multiply, items, MOST_CALLS, -1, &failed));
  CHECK(failed == 2 && items[3].reply.code == SUBLET_ERR_FUNCTION && items[4].reply.code == 0);
  CHECK(strstr(sublet_last_error(), "a pair is expected") != NULL);
  CHECK_OK(sublet_batch(multiply, NULL, 0, 0, &failed));
  CHECK_CODE(SUBLET_ERR_COUNT, sublet_batch(multiply, items, (size_t)-1, -1, &failed));
  CHECK_OK(sublet_function_free(&multiply));
}

static void check_bad_ends(sublet_lease* lease) {
  sublet_reply reply;
  sublet_function* spin = find(lease, "spin", "function_timeout_ms", "300");
  sublet_invocation* call = NULL;
  CHECK_OK(sublet_call_async(spin, NULL, 0, NULL, 0, &call));
  CHECK_CODE(SUBLET_ERR_DEADLINE, sublet_invocation_wait_for(call, 0, &reply));
  CHECK_CODE(SUBLET_ERR_DEADLINE, sublet_lease_wait_all(lease, 0));
  CHECK_CODE(SUBLET_ERR_TIMED_OUT, sublet_invocation_wait(call, &reply));
  CHECK(reply.code == SUBLET_ERR_TIMED_OUT);
  CHECK(strstr(sublet_last_error(), "spin") != NULL);
  CHECK_OK(sublet_invocation_free(&call));
  CHECK_OK(sublet_function_free(&spin));

  sublet_function* crash = find(lease, "crash", NULL, NULL);
  CHECK_CODE(SUBLET_ERR_CRASHED, sublet_call(crash, NULL, 0, NULL, 0, NULL));
  CHECK(strstr(sublet_last_error(), "crash") != NULL);
  CHECK_OK(sublet_function_free(&crash));
}

/* Freed in the wrong order, and released with calls in flight. */
#define ITEMS 5000

/* Slower than the workers. */
static void add_one_here(size_t first, size_t count, const void* in, void* out, void* context) {
  uint64_t* seen = context;
  (void)first;
  for (size_t i = 0; i < count; ++i) {
    volatile uint64_t turns = 0;
    while (turns < 2000) ++turns;
    ((uint64_t*)out)[i] = ((const uint64_t*)in)[i] + 1;
    ++*seen;
  }
}

static void sum_here(size_t first, size_t count, const void* in, void* out, void* context) {
  (void)context;
  CHECK(in == NULL);
  uint64_t* sum = out;
  *sum = 0;
  for (uint64_t i = 0; i < count; ++i) *sum += first + i;
}

static void add_up(const void* partial, void* context) {
  *(uint64_t*)context += *(const uint64_t*)partial;
}

static void check_loops(sublet_lease* lease) {
  static uint64_t in[ITEMS];
  static uint64_t out[ITEMS];
  sublet_function* add_one = find(lease, "add_one_to_each", NULL, NULL);
  uint64_t seen = 0;
  for (uint64_t i = 0; i < ITEMS; ++i) in[i] = 3 * i;
  sublet_loop loop = SUBLET_LOOP_INIT;
  loop.count = ITEMS;
  loop.in = in;
  loop.in_item = sizeof in[0];
  loop.out = out;
  loop.out_item = sizeof out[0];
  loop.here = add_one_here;
  loop.context = &seen;
  sublet_loop_report report;
  CHECK_OK(sublet_offload_for(add_one, &loop, &report));
  for (size_t i = 0; i < ITEMS; ++i) CHECK(out[i] == in[i] + 1);
  CHECK(report.here == seen && report.here + report.on_workers == ITEMS);
  CHECK(report.calls > 0);

  /* All by workers, in memory that they see. */
  void* memory = NULL;
  sublet_buffer* buffer = NULL;
  CHECK_OK(sublet_buffer_create(lease, sizeof in, &memory, &buffer));
  memcpy(memory, in, sizeof in);
  loop.in = loop.out = memory;
  loop.here = NULL;
  CHECK_OK(sublet_offload_for(add_one, &loop, &report));
  CHECK(report.here == 0 && report.on_workers == ITEMS && report.calls > 1);
  for (size_t i = 0; i < ITEMS; ++i) CHECK(((uint64_t*)memory)[i] == in[i] + 1);
  CHECK_OK(sublet_buffer_free(&buffer));
  CHECK_OK(sublet_function_free(&add_one));

  /* A reduction over numbers. */
  sublet_function* sum_range = find(lease, "sum_range", NULL, NULL);
  uint64_t sum = 0;
  sublet_loop sums = SUBLET_LOOP_INIT;
  sums.count = ITEMS;
  sums.out_item = sizeof sum;
  sums.combine = add_up;
  sums.context = &sum;
  CHECK_OK(sublet_offload_for(sum_range, &sums, NULL));
  CHECK(sum == (uint64_t)ITEMS * (ITEMS - 1) / 2);
  sum = 0;
  sums.here = sum_here;
  CHECK_OK(sublet_offload_for(sum_range, &sums, NULL));
  CHECK(sum == (uint64_t)ITEMS * (ITEMS - 1) / 2);
  sums.count = 0;
  CHECK_OK(sublet_offload_for(sum_range, &sums, NULL));
  sums.count = ITEMS;
  sums.here = NULL;

  /* Its output is of another size, and its input no range. */
  sums.out_item = 2 * sizeof sum;
  CHECK_CODE(SUBLET_ERR_OUTPUT_SIZE, sublet_offload_for(sum_range, &sums, NULL));
  sums.in = in;
  sums.in_item = sizeof in[0] / 2;
  CHECK_CODE(SUBLET_ERR_FUNCTION, sublet_offload_for(sum_range, &sums, NULL));
  CHECK(strstr(sublet_last_error(), "offload_for: items ") != NULL);
  CHECK_OK(sublet_function_free(&sum_range));
}

static void check_release(sublet_session** session, sublet_lease** lease) {
  sublet_function* spin = find(*lease, "spin", NULL, NULL);
  sublet_usage usage;
  CHECK_OK(sublet_lease_usage(*lease, &usage));
  CHECK(usage.invocations > MOST_CALLS && usage.core_seconds > 0);
  sublet_invocation* call = NULL;
  CHECK_OK(sublet_call_async(spin, NULL, 0, NULL, 0, &call));
  CHECK_OK(sublet_session_free(session));
  CHECK_OK(sublet_lease_release(*lease));
  CHECK_OK(sublet_lease_release(*lease));
  CHECK_CODE(SUBLET_ERR_CLOSED, sublet_invocation_wait(call, NULL));
  CHECK_CODE(SUBLET_ERR_CLOSED, sublet_call(spin, NULL, 0, NULL, 0, NULL));
  CHECK_OK(sublet_lease_free(lease));
  CHECK_OK(sublet_function_free(&spin));
  CHECK_OK(sublet_invocation_free(&call));
}

int main(void) {
  sublet_session* session = NULL;
  sublet_lease* lease = NULL;
  sublet_options* options = NULL;
  CHECK_OK(sublet_options_create(&options));
  CHECK_OK(sublet_options_set(options, "private_oversubscribe", "16"));
  CHECK_OK(sublet_options_set(options, "arena_bytes", "16777216"));
  CHECK_OK(sublet_options_set(options, "slots", "4"));
  CHECK_OK(sublet_options_set(options, "placement", "near"));
  CHECK_OK(sublet_session_open(options, &session));
  CHECK_OK(sublet_lease_open(session, 2, options, &lease));
  CHECK_OK(sublet_options_free(&options));
  if (failures > 0) return EXIT_FAILURE;

  check_lease(session, lease);
  check_calls(lease);
  check_async(lease);
  check_continuations(lease);
  check_batch(lease);
  check_loops(lease);
  check_bad_ends(lease);
  check_release(&session, &lease);
  return failures > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
