#ifndef SUBLET_H
#define SUBLET_H

/* Sublet for C, and for whatever can call C:
 *
 *   sublet_session* session = NULL;
 *   sublet_lease* lease = NULL;
 *   sublet_function* norm = NULL;
 *   int code = sublet_session_open(NULL, &session);
 *   if (code == SUBLET_SUCCESS) code = sublet_lease_open(session, 2, NULL, &lease);
 *   if (code == SUBLET_SUCCESS)
 *     code = sublet_function_open(lease, "libshapes.so", "norm", NULL, &norm);
 *   if (code == SUBLET_SUCCESS)
 *     code = sublet_call(norm, &point, sizeof point, &length, sizeof length, NULL);
 *   if (code != SUBLET_SUCCESS) fprintf(stderr, "%s\n", sublet_last_error());
 *   sublet_function_free(&norm);
 *   sublet_lease_free(&lease);
 *   sublet_session_free(&session);
 *
 * Errors: a function returns SUBLET_SUCCESS or a code of <sublet/codes.h>; the text is in
 * sublet_last_error(). It never prints, never aborts, never throws. When it fails, it leaves what
 * it would have written as it was, replies aside. Each may fail with SUBLET_ERR_HANDLE and
 * SUBLET_ERR_ARGUMENT for null pointers, and with SUBLET_ERR_OVERLOADED when there is no memory;
 * further codes are named where they have a meaning of their own.
 *
 * Handles: what _open and _create write belongs to the caller, who gives it to _free. That accepts
 * the address of a null handle, and leaves null behind. A handle keeps alive what it came from:
 * they may be freed in any order.
 *
 * Threads: any thread may use a session. One thread at a time uses a lease and all that came from
 * it: functions, invocations, buffers. "Blocks" is said where a function waits for others. None of
 * these functions calls MPI: any thread level of MPI will do, MPI_THREAD_SINGLE too.
 *
 * Sizes are in bytes. Larger ones than PTRDIFF_MAX, as negative numbers become, are
 * SUBLET_ERR_COUNT. Times end in their unit; a limit of -1 is none.
 *
 * Function libraries include <sublet/function.h> instead; MPI applications <sublet_mpi.h>. */

#include <sublet/codes.h>

#include <stddef.h>
#include <stdint.h>

#define SUBLET_C_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sublet_options sublet_options;
typedef struct sublet_session sublet_session;
typedef struct sublet_lease sublet_lease;
typedef struct sublet_buffer sublet_buffer;
typedef struct sublet_function sublet_function;
typedef struct sublet_invocation sublet_invocation;

/* ---- Errors ---- */

/* What a code means, in some words. Never null; lives as long as the program. */
SUBLET_C_API const char* sublet_error_string(int code);

/* Why the last function that failed on this thread did: what was attempted, what was found and what
 * to do. Never null, empty when none has failed. Valid until the next failure on this thread. */
SUBLET_C_API const char* sublet_last_error(void);

/* For bindings that are built on these: makes `text` the last error of this thread, and returns
 * `code`. */
SUBLET_C_API int sublet_set_last_error(int code, const char* text);

/* "0.1.0": of the library, where SUBLET_VERSION would be that of the headers. */
SUBLET_C_API const char* sublet_version(void);

/* ---- Options: names with values, for sessions, leases and functions alike ----
 *
 * Each takes those that concern it. A null pointer stands for no options. Sessions (what is not set
 * comes from configuration file and environment): those of the configuration file: manager,
 * manager_dir, allow_private, node_name, key_file, manager_user, insecure, transport,
 * peer_timeout_ms, timeout_ms, private_cpuset,
 * private_avoid, private_oversubscribe, lease, trace. Leases: memory_bytes, duration_s, placement
 * (pack, spread, near), hot_timeout_ms, arena_bytes, slots, replace, worker_wait_ms,
 * cores_per_worker, gpus_per_worker, wait_ms, priority, notice_ms. Functions: function_timeout_ms,
 * idempotent. Their meaning: <sublet/session.hpp>, <sublet/lease.hpp>, <sublet/call.hpp>. */

SUBLET_C_API int sublet_options_create(sublet_options** options);

/* Copies both. SUBLET_ERR_OPTION: there is no option of this name, or it cannot have this value. */
SUBLET_C_API int sublet_options_set(sublet_options* options, const char* name, const char* value);

/* Takes Sublet's own flags (--sublet-manager tcp:..., one for each option of sessions) from the
 * command line of main(), removes them there, and sets them; what sublet_options_set sets counts
 * for more. `argv` ends with a null pointer, as main()'s does. SUBLET_ERR_OPTION: there is no such
 * flag, or a value is wrong, perhaps in the configuration file; the command line is as it was then.
 */
SUBLET_C_API int sublet_options_take_flags(sublet_options* options, int* argc, char** argv);

SUBLET_C_API int sublet_options_free(sublet_options** options);

/* ---- Session ---- */

/* Finds a resource manager, or starts a private one. Blocks, at most for the session's timeout. */
SUBLET_C_API int sublet_session_open(const sublet_options* options, sublet_session** session);

/* The manager's address, copied as far as it fits and always ended by a zero; `length`, which may
 * be null, becomes its whole length. */
SUBLET_C_API int sublet_session_manager(const sublet_session* session, char* text, size_t capacity,
                                        size_t* length);

/* `is_private` becomes 1 when the manager is a private one, of this process or of its job, else 0.
 */
SUBLET_C_API int sublet_session_manager_is_private(const sublet_session* session, int* is_private);

/* Writes the invocations recorded so far (option trace) as a Chrome trace. */
SUBLET_C_API int sublet_session_write_trace(const sublet_session* session, const char* path);

/* The connection ends with the last of its leases. */
SUBLET_C_API int sublet_session_free(sublet_session** session);

/* ---- Lease ---- */

typedef struct sublet_worker_info {
  char node_name[256];
  char cpuset[256]; /* in hwloc's list syntax; the beginning of a longer one */
  char transport[16];
  char gpus[256]; /* UUIDs, with a comma between; the beginning of a longer list */
} sublet_worker_info;

typedef struct sublet_usage {
  uint64_t invocations;
  uint64_t compute_ns;
  uint64_t hot_poll_ns;
  uint64_t bytes_in;
  uint64_t bytes_out;
  double core_seconds;
  double gpu_seconds;
} sublet_usage;

/* Leases `cores` cores, one worker each, and claims them; with the option cores_per_worker, `cores`
 * workers of so many cores each. Blocks. SUBLET_ERR_COUNT: `cores` is not positive.
 * SUBLET_ERR_OVERLOADED: so many are not free, or were not within the time of option wait_ms. */
SUBLET_C_API int sublet_lease_open(sublet_session* session, int cores,
                                   const sublet_options* options, sublet_lease** lease);

SUBLET_C_API int sublet_lease_id(const sublet_lease* lease, uint64_t* id);
SUBLET_C_API int sublet_lease_workers(const sublet_lease* lease, size_t* workers);
/* SUBLET_ERR_COUNT: there is no worker `index`; they count from 0. */
SUBLET_C_API int sublet_lease_worker(const sublet_lease* lease, size_t index,
                                     sublet_worker_info* worker);
/* Milliseconds since 1970. */
SUBLET_C_API int sublet_lease_expires_at(const sublet_lease* lease, int64_t* unix_ms);

/* More time, counted from now. Blocks. SUBLET_ERR_COUNT: `duration_s` is not positive. */
SUBLET_C_API int sublet_lease_extend(sublet_lease* lease, int64_t duration_s);

/* What the lease has consumed so far. Blocks. */
SUBLET_C_API int sublet_lease_usage(sublet_lease* lease, sublet_usage* usage);

/* Completes calls that have ended and runs their continuations. Never blocks. */
SUBLET_C_API int sublet_lease_progress(sublet_lease* lease);

/* Blocks until no call of the lease is under way. SUBLET_ERR_DEADLINE: `limit_ns` ended first. */
SUBLET_C_API int sublet_lease_wait_all(sublet_lease* lease, int64_t limit_ns);

/* Told when the lease, or (`leaving` is 1) only one node of it, is about to end, or when it has
 * been lost. Run on a helper thread: keep them short, and do not call back into the lease; a C++
 * exception must not leave them. `context` must live until the lease has ended. Null: nobody is
 * told. */
typedef void (*sublet_ending_callback)(int64_t left_ms, const char* reason, int leaving,
                                       void* context);
typedef void (*sublet_lost_callback)(const char* reason, void* context);
SUBLET_C_API int sublet_lease_on_ending(sublet_lease* lease, sublet_ending_callback callback,
                                        void* context);
SUBLET_C_API int sublet_lease_on_lost(sublet_lease* lease, sublet_lost_callback callback,
                                      void* context);

/* Ends the lease now, whoever else has handles of it. Calls under way end with SUBLET_ERR_CLOSED,
 * once nothing can write to their memory any more; their continuations run before it returns.
 * Blocks for some seconds at most. May be called again. */
SUBLET_C_API int sublet_lease_release(sublet_lease* lease);

/* The lease is released with the last handle of it and of what came from it. */
SUBLET_C_API int sublet_lease_free(sublet_lease** lease);

/* ---- Buffers ---- */

/* Memory that workers read and write in place, aligned to 64 bytes; `data` becomes its address. A
 * call that passes it, or a part of it, copies nothing. SUBLET_ERR_OVERLOADED: the arena is full.
 */
SUBLET_C_API int sublet_buffer_create(sublet_lease* lease, size_t size, void** data,
                                      sublet_buffer** buffer);
/* Only when no call that uses it is in flight. */
SUBLET_C_API int sublet_buffer_free(sublet_buffer** buffer);

/* ---- Functions and calls ---- */

/* How an invocation ended. */
typedef struct sublet_reply {
  int code;         /* SUBLET_SUCCESS or, of <sublet/codes.h>, SUBLET_ERR_AGAIN and following */
  uint32_t worker;  /* index of the worker within its lease */
  uint64_t size;    /* bytes of output; with SUBLET_ERR_OUTPUT_SIZE the bytes needed */
  uint64_t exec_ns; /* the worker's own execution time */
} sublet_reply;

/* Loads the library at `path` (a file of this process; its content travels) into the lease's
 * executors and finds the function `name` there. Blocks until all have it. */
SUBLET_C_API int sublet_function_open(sublet_lease* lease, const char* path, const char* name,
                                      const sublet_options* options, sublet_function** function);
/* Null for a null handle; lives as long as the handle. */
SUBLET_C_API const char* sublet_function_name(const sublet_function* function);
SUBLET_C_API int sublet_function_free(sublet_function** function);

/* Runs the function on the worker with the least to do, and waits for the reply; returns its code.
 * `in` and `out` may be null when their size is 0, `reply` always. Costs what the call of C++ does:
 * no allocation, lock or system call comes on top. */
#ifdef __cplusplus
/* Function libraries know a struct of this name, which may be declared before. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
SUBLET_C_API int sublet_call(sublet_function* function, const void* in, size_t in_size, void* out,
                             size_t out_capacity, sublet_reply* reply);
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif

/* Starts the function and returns at once; a call that finds no free slot waits in the lease's
 * queue. `in` and `out` must stay valid until the call has ended. `*invocation` must be null, or a
 * handle from before, which is used again (after the end of its call, for which this waits): then
 * nothing is allocated. */
SUBLET_C_API int sublet_call_async(sublet_function* function, const void* in, size_t in_size,
                                   void* out, size_t out_capacity, sublet_invocation** invocation);

/* The same on one worker and without the queue. SUBLET_ERR_AGAIN: it has no free slot, or is down
 * and may come back; SUBLET_ERR_CLOSED: it will not. */
SUBLET_C_API int sublet_call_try(sublet_function* function, size_t worker, const void* in,
                                 size_t in_size, void* out, size_t out_capacity,
                                 sublet_invocation** invocation);

/* `ended` becomes 1 when the call has ended, else 0. Never blocks. */
SUBLET_C_API int sublet_invocation_poll(sublet_invocation* invocation, int* ended);

/* Blocks until the call has ended, and returns its code. `reply` may be null. The handle stays:
 * more waits give the same. */
SUBLET_C_API int sublet_invocation_wait(sublet_invocation* invocation, sublet_reply* reply);

/* As wait, at most for `limit_ns`: then SUBLET_ERR_DEADLINE, and the call is still under way. */
SUBLET_C_API int sublet_invocation_wait_for(sublet_invocation* invocation, int64_t limit_ns,
                                            sublet_reply* reply);

/* Hands the call to its lease, which runs `then` once, when it has ended: in sublet_lease_progress,
 * in any wait on the lease, or in its release, on the thread that calls these. The handle is freed.
 * A C++ exception must not leave `then`. */
typedef void (*sublet_continuation)(const sublet_reply* reply, void* context);
SUBLET_C_API int sublet_invocation_then(sublet_invocation** invocation, sublet_continuation then,
                                        void* context);

/* Waits for the end of the call if need be. */
SUBLET_C_API int sublet_invocation_free(sublet_invocation** invocation);

/* One item of a batch. */
typedef struct sublet_item {
  const void* in;
  size_t in_size;
  void* out;
  size_t out_capacity;
  sublet_reply reply; /* written */
} sublet_item;

/* Runs all items over all workers of the lease and waits for all. `failed`, which may be null,
 * becomes the number of those that failed; sublet_last_error() then has the first one's text, and
 * the result is that item's code. SUBLET_ERR_DISCONNECTED: `limit_ns` ended first; items that had
 * not ended have SUBLET_ERR_DEADLINE, and those under way have been waited for. */
SUBLET_C_API int sublet_batch(sublet_function* function, sublet_item* items, size_t count,
                              int64_t limit_ns, size_t* failed);

#ifdef __cplusplus
}
#endif

#include <sublet/grants.h>
#include <sublet/loop.h>

#endif /* SUBLET_H */
