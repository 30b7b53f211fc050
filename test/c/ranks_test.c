/* The C interface for MPI, on any number of ranks: leases and calls, bad arguments, error classes
 * and handlers, and what is left after MPI_Finalize. */

#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <sublet_mpi.h>

/* `call` fails with an error class that stands for `expected`, and is explained by MPI. */
#define CHECK_ERROR(expected, call) check_error(__LINE__, #call, expected, call)

static void check_error(int line, const char* what, int expected, int error) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(error, text, &length);
  const int right = error > 0 && sublet_mpi_code(error) == expected &&
                    strstr(text, sublet_error_string(expected)) != NULL;
  if (right) return;
  ++failures;
  fprintf(stderr, "%s:%d: %s gives %d (%s), not %s; last error: %s\n", __FILE__, line, what, error,
          text, sublet_error_string(expected), sublet_last_error());
}

struct pair {
  double a, b;
};

static int rank = 0;
static int ranks = 0;

static void set_hint(MPI_Info hints, const char* key, const char* value) {
  CHECK_OK(MPI_Info_set(hints, key, value));
}

static MPI_Info hints_for_any_machine(void) {
  MPI_Info hints = MPI_INFO_NULL;
  MPI_Info_create(&hints);
  set_hint(hints, "sublet_private_oversubscribe", "32");
  set_hint(hints, "sublet_arena_bytes", "16777216");
  set_hint(hints, "sublet_memory_bytes", "16777216");
  set_hint(hints, "cb_nodes", "of another library");
  return hints;
}

static void check_works(sublet_allocator* workers) {
  sublet_lease* lease = NULL;
  sublet_session* session = NULL;
  sublet_function* multiply = NULL;
  CHECK_OK(sublet_mpi_lease(workers, &lease));
  CHECK_OK(sublet_mpi_session(workers, &session));
  CHECK_OK(sublet_function_open(lease, C_FUNCTIONS, "multiply", NULL, &multiply));
  const struct pair pair = {rank + 1, 3};
  double product = 0;
  CHECK_OK(sublet_call(multiply, &pair, sizeof pair, &product, sizeof product, NULL));
  CHECK(product == 3 * (rank + 1));
  CHECK_OK(sublet_function_free(&multiply));
  CHECK_OK(sublet_session_free(&session));
  CHECK_OK(sublet_lease_free(&lease));
}

static void check_lease(MPI_Info hints) {
  sublet_allocator* workers = NULL;
  CHECK_OK(sublet_mpi_open(MPI_COMM_WORLD, 1, hints, &workers));
  check_works(workers);
  sublet_usage usage;
  /* A worker counts a call after it has answered. */
  for (int looks = 0; looks < 1000; ++looks) {
    CHECK_OK(sublet_mpi_usage(workers, &usage));
    if (usage.invocations == (uint64_t)ranks) break;
  }
  CHECK(usage.invocations == (uint64_t)ranks);
  CHECK_ERROR(SUBLET_ERR_ARGUMENT, sublet_mpi_usage(workers, NULL));
  /* Of one rank only: none waits for another. */
  const int last = rank == ranks - 1;
  CHECK_ERROR(last ? SUBLET_ERR_HANDLE : SUBLET_ERR_OTHER_RANK,
              sublet_mpi_usage(last ? NULL : workers, &usage));
  CHECK_ERROR(last ? SUBLET_ERR_ARGUMENT : SUBLET_ERR_OTHER_RANK,
              sublet_mpi_usage(workers, last ? NULL : &usage));
  CHECK_ERROR(last ? SUBLET_ERR_HANDLE : SUBLET_ERR_OTHER_RANK,
              sublet_mpi_write_trace(last ? NULL : workers, "/dev/null"));
  CHECK_OK(sublet_mpi_write_trace(workers, "/dev/null"));
  CHECK_OK(sublet_mpi_release(workers));
  CHECK_OK(sublet_mpi_release(workers));
  CHECK_ERROR(SUBLET_ERR_INVALID, sublet_mpi_usage(workers, &usage));
  CHECK_OK(sublet_mpi_free(&workers));
  CHECK(workers == NULL);
  CHECK_OK(sublet_mpi_free(&workers));

  CHECK_OK(sublet_mpi_open_fint(MPI_Comm_c2f(MPI_COMM_WORLD), 1, MPI_Info_c2f(hints), &workers));
  check_works(workers);
  CHECK_OK(sublet_mpi_free(&workers));
}

static void check_bad_arguments(MPI_Info hints) {
  sublet_allocator* workers = NULL;
  sublet_lease* lease = NULL;
  sublet_usage usage;
  CHECK_ERROR(SUBLET_ERR_COMM, sublet_mpi_open(MPI_COMM_NULL, 1, hints, &workers));
  CHECK_ERROR(SUBLET_ERR_COUNT, sublet_mpi_open(MPI_COMM_WORLD, -1, hints, &workers));
  CHECK_ERROR(SUBLET_ERR_COUNT, sublet_mpi_open(MPI_COMM_WORLD, 0, hints, &workers));
  CHECK_ERROR(SUBLET_ERR_ARGUMENT, sublet_mpi_open(MPI_COMM_WORLD, 1, hints, NULL));
  CHECK_ERROR(SUBLET_ERR_HANDLE, sublet_mpi_lease(NULL, &lease));
  CHECK_ERROR(SUBLET_ERR_HANDLE, sublet_mpi_usage(NULL, &usage));
  CHECK_ERROR(SUBLET_ERR_HANDLE, sublet_mpi_write_trace(NULL, "x"));
  CHECK_ERROR(SUBLET_ERR_HANDLE, sublet_mpi_release(NULL));
  CHECK_ERROR(SUBLET_ERR_ARGUMENT, sublet_mpi_free(NULL));

  MPI_Info wrong = MPI_INFO_NULL;
  MPI_Info_create(&wrong);
  set_hint(wrong, "sublet_slots", "many");
  CHECK_ERROR(SUBLET_ERR_OPTION, sublet_mpi_open(MPI_COMM_WORLD, 1, wrong, &workers));
  MPI_Info greedy = MPI_INFO_NULL;
  MPI_Info_dup(hints, &greedy);
  set_hint(greedy, "sublet_memory_bytes", "140737488355328");
  CHECK_ERROR(SUBLET_ERR_OVERLOADED, sublet_mpi_open(MPI_COMM_WORLD, 1, greedy, &workers));
  MPI_Info wide = hints_for_any_machine();
  set_hint(wide, "sublet_cores_per_worker", "4096");
  CHECK_ERROR(SUBLET_ERR_OVERLOADED, sublet_mpi_open(MPI_COMM_WORLD, 1, wide, &workers));
  CHECK(strstr(sublet_last_error(), "no node has so many") != NULL);
  MPI_Info many_gpus = hints_for_any_machine();
  set_hint(many_gpus, "sublet_gpus_per_worker", "64");
  CHECK_ERROR(SUBLET_ERR_OVERLOADED, sublet_mpi_open(MPI_COMM_WORLD, 1, many_gpus, &workers));
  CHECK(strstr(sublet_last_error(), "64 GPUs") != NULL);
  MPI_Info_free(&many_gpus);
  MPI_Info_free(&wide);
  MPI_Info_free(&greedy);
  /* Of one rank only: none waits for another. */
  const int last = rank == ranks - 1;
  CHECK_ERROR(last ? SUBLET_ERR_OPTION : SUBLET_ERR_OTHER_RANK,
              sublet_mpi_open(MPI_COMM_WORLD, 1, last ? wrong : hints, &workers));
  CHECK_ERROR(last ? SUBLET_ERR_ARGUMENT : SUBLET_ERR_OTHER_RANK,
              sublet_mpi_open(MPI_COMM_WORLD, 1, hints, last ? NULL : &workers));
  CHECK(workers == NULL);
  MPI_Info_free(&wrong);
}

/* The first column of a matrix in, its doubles as another one out. */
static void check_datatypes(MPI_Info hints) {
  enum { kRows = 4, kColumns = 3 };
  sublet_allocator* workers = NULL;
  sublet_lease* lease = NULL;
  sublet_function* twice_each = NULL;
  sublet_mpi_persistent* call = NULL;
  sublet_reply reply;
  double matrix[kRows][kColumns];
  MPI_Datatype column = MPI_DATATYPE_NULL;
  MPI_Type_vector(kRows, 1, kColumns, MPI_DOUBLE, &column);
  CHECK_OK(sublet_mpi_open(MPI_COMM_WORLD, 1, hints, &workers));
  CHECK_OK(sublet_mpi_lease(workers, &lease));
  CHECK_OK(sublet_function_open(lease, C_FUNCTIONS, "twice_each", NULL, &twice_each));

  CHECK_ERROR(SUBLET_ERR_TYPE, sublet_mpi_call(workers, twice_each, matrix, 1, column, matrix, 1,
                                               MPI_DOUBLE, NULL)); /* not committed */
  MPI_Type_commit(&column);
  CHECK_OK(sublet_mpi_call_init(workers, twice_each, matrix, 1, column, &matrix[0][1], 1, column,
                                &call));
  MPI_Type_free(&column);
  for (int step = 0; step < 3; ++step) {
    for (int row = 0; row < kRows; ++row) {
      matrix[row][0] = row + step;
      matrix[row][2] = -1;
    }
    int ended = 0;
    CHECK_OK(sublet_mpi_startall(1, &call));
    CHECK_OK(sublet_mpi_test(call, &ended));
    CHECK_OK(sublet_mpi_wait_for(call, -1, NULL));
    CHECK_OK(sublet_mpi_wait(call, &reply));
    CHECK(reply.code == SUBLET_SUCCESS && reply.size == kRows * sizeof(double));
    for (int row = 0; row < kRows; ++row) {
      CHECK(matrix[row][1] == 2 * (row + step) && matrix[row][2] == -1);
    }
  }

  CHECK_ERROR(SUBLET_ERR_TYPE, sublet_mpi_call(workers, twice_each, matrix, 1, MPI_DATATYPE_NULL,
                                               matrix, 1, MPI_DOUBLE, NULL));
  CHECK_ERROR(SUBLET_ERR_COUNT, sublet_mpi_call(workers, twice_each, matrix, -1, MPI_DOUBLE, matrix,
                                                1, MPI_DOUBLE, NULL));
  CHECK_ERROR(SUBLET_ERR_ARGUMENT, sublet_mpi_call(workers, twice_each, NULL, 1, MPI_DOUBLE, matrix,
                                                   1, MPI_DOUBLE, NULL));
  CHECK_ERROR(SUBLET_ERR_HANDLE,
              sublet_mpi_call(workers, NULL, NULL, 0, MPI_DOUBLE, NULL, 0, MPI_DOUBLE, NULL));
  CHECK_ERROR(SUBLET_ERR_OUTPUT_SIZE, sublet_mpi_call_c(workers, twice_each, matrix, 2, MPI_DOUBLE,
                                                        matrix, 1, MPI_DOUBLE, &reply));
  CHECK(reply.size == 2 * sizeof(double));
  CHECK_ERROR(SUBLET_ERR_HANDLE, sublet_mpi_start(NULL));
  CHECK_ERROR(SUBLET_ERR_HANDLE, sublet_mpi_wait(NULL, NULL));
  CHECK_ERROR(SUBLET_ERR_COUNT, sublet_mpi_wait_for(call, -2, NULL));
  CHECK_OK(sublet_mpi_call_free(&call));
  CHECK(call == NULL);
  CHECK_OK(sublet_mpi_call_free(&call));
  CHECK_OK(sublet_function_free(&twice_each));
  CHECK_OK(sublet_lease_free(&lease));
  CHECK_OK(sublet_mpi_free(&workers));
}

static void check_threads(MPI_Info hints) {
  sublet_allocator* workers = NULL;
  sublet_lease* lease = NULL;
  MPI_Info two = MPI_INFO_NULL;
  MPI_Info_dup(hints, &two);
  set_hint(two, "sublet_threads_per_rank", "2");
  set_hint(two, "sublet_memory_bytes", "33554432");
  CHECK_OK(sublet_mpi_open(MPI_COMM_WORLD, 4, two, &workers));
  for (int thread = 0; thread < 2; ++thread) {
    size_t count = 0;
    CHECK_OK(sublet_mpi_thread_lease(workers, thread, &lease));
    CHECK_OK(sublet_lease_workers(lease, &count));
    CHECK(count == 2);
    CHECK_OK(sublet_lease_free(&lease));
  }
  CHECK_ERROR(SUBLET_ERR_COUNT, sublet_mpi_thread_lease(workers, 2, &lease));
  CHECK_ERROR(SUBLET_ERR_COUNT, sublet_mpi_thread_lease(workers, -1, &lease));
  CHECK_OK(sublet_mpi_free(&workers));

  CHECK_ERROR(SUBLET_ERR_INVALID, sublet_mpi_open(MPI_COMM_WORLD, 3, two, &workers));
  set_hint(two, "sublet_threads_per_rank", "0");
  CHECK_ERROR(SUBLET_ERR_OPTION, sublet_mpi_open(MPI_COMM_WORLD, 2, two, &workers));
  MPI_Info_free(&two);
  if (ranks > 1) {
    CHECK_ERROR(SUBLET_ERR_DIFFER, sublet_mpi_open(MPI_COMM_WORLD, 1 + rank, hints, &workers));
  }
}

static void check_intercommunicator(MPI_Info hints) {
  if (ranks < 2) return; /* nobody is on the other side */
  MPI_Comm local = MPI_COMM_NULL;
  MPI_Comm inter = MPI_COMM_NULL;
  sublet_allocator* workers = NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &local);
  MPI_Intercomm_create(local, 0, MPI_COMM_WORLD, 1 - rank % 2, 0, &inter);
  MPI_Comm_set_errhandler(inter, MPI_ERRORS_RETURN);
  CHECK_ERROR(SUBLET_ERR_INTERCOMM, sublet_mpi_open(inter, 1, hints, &workers));
  MPI_Comm_free(&inter);
  MPI_Comm_free(&local);
}

static int handled = 0;

static void handler(MPI_Comm* comm, int* error, ...) {
  (void)comm;
  handled = *error;
}

static void check_error_handler(MPI_Info hints) {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Errhandler own;
  sublet_allocator* workers = NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  MPI_Comm_create_errhandler(handler, &own);
  MPI_Comm_set_errhandler(comm, own);
  const int error = sublet_mpi_open(comm, -1, hints, &workers);
  CHECK_ERROR(SUBLET_ERR_COUNT, error);
  CHECK(handled == error);
  handled = 0;
  CHECK_OK(sublet_mpi_open(comm, 1, hints, &workers));
  CHECK(handled == 0);

  /* The communicator goes before the handle does. */
  MPI_Errhandler_free(&own);
  MPI_Comm_free(&comm);
  sublet_lease* lease = NULL;
  sublet_usage usage;
  CHECK_ERROR(SUBLET_ERR_COMM_FREED, sublet_mpi_usage(workers, &usage));
  CHECK_ERROR(SUBLET_ERR_COMM_FREED, sublet_mpi_lease(workers, &lease));
  CHECK_ERROR(SUBLET_ERR_COMM_FREED, sublet_mpi_release(workers));
  CHECK(handled == 0);
  CHECK_OK(sublet_mpi_free(&workers));
  CHECK_ERROR(SUBLET_ERR_COMM, sublet_mpi_open(comm, 1, hints, &workers));
}

static void check_classes(void) {
  int class_of = 0;
  int again = 0;
  CHECK_OK(sublet_mpi_error_class(SUBLET_ERR_CRASHED, &class_of));
  CHECK_ERROR(SUBLET_ERR_CRASHED, class_of);
  CHECK_OK(sublet_mpi_error_class(SUBLET_ERR_CRASHED, &again));
  CHECK(class_of == again);
  CHECK(sublet_mpi_code(MPI_SUCCESS) == SUBLET_SUCCESS);
  CHECK(sublet_mpi_code(MPI_ERR_COMM) == SUBLET_ERR_INTERNAL);
  CHECK(sublet_mpi_code(SUBLET_ERR_LOST) == SUBLET_ERR_LOST);
}

int main(int argc, char** argv) {
  sublet_allocator* workers = NULL;
  sublet_usage usage;
  CHECK_CODE(SUBLET_ERR_NOT_INITIALIZED,
             sublet_mpi_open(MPI_COMM_WORLD, 1, MPI_INFO_NULL, &workers));
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Info hints = hints_for_any_machine();

  check_lease(hints);
  check_bad_arguments(hints);
  check_intercommunicator(hints);
  check_datatypes(hints);
  check_threads(hints);
  check_error_handler(hints);
  check_classes();

  /* MPI_Finalize with calls in flight. */
  sublet_mpi_persistent* persistent = NULL;
  sublet_lease* lease = NULL;
  sublet_function* spin = NULL;
  sublet_invocation* call = NULL;
  CHECK_OK(sublet_mpi_open(MPI_COMM_WORLD, 1, hints, &workers));
  CHECK_OK(sublet_mpi_lease(workers, &lease));
  CHECK_OK(sublet_function_open(lease, C_FUNCTIONS, "spin", NULL, &spin));
  CHECK_OK(sublet_call_async(spin, NULL, 0, NULL, 0, &call));
  CHECK_OK(sublet_mpi_call_init(workers, spin, NULL, 0, MPI_2INT, NULL, 0, MPI_2INT, &persistent));
  CHECK_OK(sublet_mpi_start(persistent));
  CHECK_ERROR(SUBLET_ERR_UNDER_WAY, sublet_mpi_start(persistent));
  MPI_Info_free(&hints);
  MPI_Finalize();
  CHECK_CODE(SUBLET_ERR_CLOSED, sublet_mpi_wait(persistent, NULL));
  CHECK_CODE(SUBLET_ERR_FINALIZED, sublet_mpi_start(persistent));
  CHECK_OK(sublet_mpi_call_free(&persistent));
  CHECK_CODE(SUBLET_ERR_CLOSED, sublet_invocation_wait(call, NULL));
  CHECK_CODE(SUBLET_ERR_CLOSED, sublet_call(spin, NULL, 0, NULL, 0, NULL));
  CHECK_CODE(SUBLET_ERR_FINALIZED, sublet_mpi_usage(workers, &usage));
  CHECK_CODE(SUBLET_ERR_FINALIZED, sublet_mpi_release(workers));
  CHECK_CODE(SUBLET_ERR_FINALIZED, sublet_mpi_open(MPI_COMM_WORLD, 1, MPI_INFO_NULL, &workers));
  CHECK_CODE(SUBLET_ERR_FINALIZED, sublet_mpi_open_fint(0, 1, 0, &workers));
  CHECK_OK(sublet_invocation_free(&call));
  CHECK_OK(sublet_function_free(&spin));
  CHECK_OK(sublet_lease_free(&lease));
  CHECK_OK(sublet_mpi_free(&workers));
  return failures > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
