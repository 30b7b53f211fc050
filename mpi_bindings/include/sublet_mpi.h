#ifndef SUBLET_MPI_H
#define SUBLET_MPI_H

/* Sublet for MPI programs in C: leases for the ranks of a communicator, over <sublet.h>.
 *
 *   sublet_allocator* workers = NULL;
 *   sublet_lease* lease = NULL;
 *   MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
 *   int error = sublet_mpi_open(MPI_COMM_WORLD, 1, MPI_INFO_NULL, &workers);
 *   if (error == MPI_SUCCESS) error = sublet_mpi_lease(workers, &lease);
 *   ...                                          sublet_function_open(lease, ...), sublet_call(...)
 *   sublet_lease_free(&lease);
 *   sublet_mpi_free(&workers);
 *   MPI_Finalize();
 *
 * Errors: MPI_SUCCESS, or an error class of MPI that stands for one code of <sublet/codes.h>:
 * MPI_Error_string explains it, sublet_mpi_code() gives the code, sublet_last_error() the whole
 * text. Before it is returned, the communicator's error handler is called with it, as with MPI's
 * own errors: by default that ends the job, so set MPI_ERRORS_RETURN or a handler of your own.
 * Where there is no communicator (null handle, freed communicator), it is the handler of
 * MPI_COMM_WORLD. Before MPI_Init and after MPI_Finalize no handler is called, and the code itself,
 * which is negative, is returned. The classes are made when they are first needed; their numbers
 * may differ between ranks.
 *
 * The functions of <sublet.h> know nothing of MPI: they return codes and call no handler.
 *
 * Threads: thread level and thread rule stand with each function; those of <sublet.h> never call
 * MPI.
 *
 * The lease ends with the last handle of it, with sublet_mpi_release, when the communicator is
 * freed, or in MPI_Finalize, whichever comes first. Calls under way then end with
 * SUBLET_ERR_CLOSED; handles may be freed after MPI_Finalize. */

#include <mpi.h>
#include <sublet.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sublet_allocator sublet_allocator;

/* Leases `workers_per_rank` workers for each rank of `comm` and connects each rank to its own.
 * Collective: of the hints, rank 0's count. A failure anywhere is a failure on every rank, and
 * none waits for another that has given up: where arguments of one rank are at fault, the others
 * get SUBLET_ERR_OTHER_RANK.
 *
 * `hints`, or MPI_INFO_NULL: the options of <sublet.h>, their names preceded by "sublet_", for
 * instance "sublet_memory_bytes"; and "sublet_threads_per_rank": so many threads of each rank get a
 * lease of their own, with an equal part of the rank's workers and memory. Other keys are ignored,
 * as are the options slots and replace and those of functions.
 *
 * SUBLET_ERR_COMM: `comm` is MPI_COMM_NULL or invalid. SUBLET_ERR_INTERCOMM,
 * SUBLET_ERR_NOT_INITIALIZED, SUBLET_ERR_FINALIZED. SUBLET_ERR_COUNT: `workers_per_rank` is not
 * positive. SUBLET_ERR_OPTION: a hint of Sublet's is wrong. SUBLET_ERR_DIFFER: ranks ask for
 * different numbers of workers, threads, cores_per_worker or gpus_per_worker.
 * SUBLET_ERR_OVERLOADED: so many cores or GPUs are not free.
 *
 * Calls MPI: with MPI_THREAD_FUNNELED in the main thread only, with MPI_THREAD_SERIALIZED not while
 * another thread does. The first one for a communicator duplicates it. */
SUBLET_C_API int sublet_mpi_open(MPI_Comm comm, int workers_per_rank, MPI_Info hints,
                                 sublet_allocator** allocator);

/* The same for handles of Fortran. */
SUBLET_C_API int sublet_mpi_open_fint(MPI_Fint comm, int workers_per_rank, MPI_Fint hints,
                                      sublet_allocator** allocator);

/* A handle of this rank's lease, or of its session; sublet_lease_free and sublet_session_free free
 * them. Local. SUBLET_ERR_COMM_FREED, SUBLET_ERR_FINALIZED. Call MPI only when they fail, or to see
 * whether MPI is finalised: any thread level, any thread. */
SUBLET_C_API int sublet_mpi_lease(sublet_allocator* allocator, sublet_lease** lease);
SUBLET_C_API int sublet_mpi_session(sublet_allocator* allocator, sublet_session** session);

/* The lease of this rank's thread number `thread`, counted from 0 (hint "sublet_threads_per_rank").
 * SUBLET_ERR_COUNT: there is no such thread. Otherwise as sublet_mpi_lease, which gives that of
 * thread 0. */
SUBLET_C_API int sublet_mpi_thread_lease(sublet_allocator* allocator, int thread,
                                         sublet_lease** lease);

/* ---- Calls with data that MPI datatypes describe ----
 *
 * The function sees the values one after the other, without the holes of their type. Basic types,
 * and contiguous ones of those, are passed as they lie; other inputs are packed into the lease's
 * arena, once, and outputs unpacked from there; holes keep what they had. An output may be shorter
 * than its room, by whole elements.
 *
 * `function` is of a lease of `allocator`. SUBLET_ERR_TYPE: a datatype is null or not committed, or
 * one of its elements has more than 1 GiB and holes. SUBLET_ERR_COUNT: a count is negative.
 * SUBLET_ERR_ARGUMENT: data are at a null pointer. SUBLET_ERR_OVERLOADED: the arena has no room for
 * what is to be packed. SUBLET_ERR_COMM_FREED, SUBLET_ERR_FINALIZED: nothing can be set up or
 * started any more.
 *
 * All are local. They call MPI to pack and unpack: as sublet_mpi_open does; one thread at a time
 * uses a lease and what came from it. */

/* Runs the function and waits for its end: returns an error that stands for how it ended. `reply`
 * may be null. The form that ends in _c takes counts beyond 2^31, as those of MPI 4 do. */
SUBLET_C_API int sublet_mpi_call(sublet_allocator* allocator, sublet_function* function,
                                 const void* in, int in_count, MPI_Datatype in_type, void* out,
                                 int out_count, MPI_Datatype out_type, sublet_reply* reply);
SUBLET_C_API int sublet_mpi_call_c(sublet_allocator* allocator, sublet_function* function,
                                   const void* in, MPI_Count in_count, MPI_Datatype in_type,
                                   void* out, MPI_Count out_count, MPI_Datatype out_type,
                                   sublet_reply* reply);

/* The same for handles of Fortran. */
SUBLET_C_API int sublet_mpi_call_fint(sublet_allocator* allocator, sublet_function* function,
                                      const void* in, int64_t in_count, MPI_Fint in_type, void* out,
                                      int64_t out_count, MPI_Fint out_type, sublet_reply* reply);

/* A call that is set up once and started many times. Data must stay where it is until
 * sublet_mpi_call_free; datatypes may be freed at once. */
typedef struct sublet_mpi_persistent sublet_mpi_persistent;

SUBLET_C_API int sublet_mpi_call_init(sublet_allocator* allocator, sublet_function* function,
                                      const void* in, int in_count, MPI_Datatype in_type, void* out,
                                      int out_count, MPI_Datatype out_type,
                                      sublet_mpi_persistent** call);
SUBLET_C_API int sublet_mpi_call_init_c(sublet_allocator* allocator, sublet_function* function,
                                        const void* in, MPI_Count in_count, MPI_Datatype in_type,
                                        void* out, MPI_Count out_count, MPI_Datatype out_type,
                                        sublet_mpi_persistent** call);

SUBLET_C_API int sublet_mpi_call_init_fint(sublet_allocator* allocator, sublet_function* function,
                                           const void* in, int64_t in_count, MPI_Fint in_type,
                                           void* out, int64_t out_count, MPI_Fint out_type,
                                           sublet_mpi_persistent** call);

/* Packs the input and starts the function. SUBLET_ERR_UNDER_WAY: the call before has not ended.
 * sublet_mpi_startall stops at the first that fails. */
SUBLET_C_API int sublet_mpi_start(sublet_mpi_persistent* call);
SUBLET_C_API int sublet_mpi_startall(int count, sublet_mpi_persistent* calls[]);

/* `ended` becomes 1 when the call has ended, else 0. Never blocks. */
SUBLET_C_API int sublet_mpi_test(sublet_mpi_persistent* call, int* ended);

/* Blocks until the call has ended, at most for `limit_ns` (-1: no limit), and returns an error that
 * stands for how it ended: the same again until the next start. SUBLET_ERR_DEADLINE: it is still
 * under way. */
SUBLET_C_API int sublet_mpi_wait(sublet_mpi_persistent* call, sublet_reply* reply);
SUBLET_C_API int sublet_mpi_wait_for(sublet_mpi_persistent* call, int64_t limit_ns,
                                     sublet_reply* reply);

/* Waits for the end of a call under way. Accepts the address of a null handle, leaves null behind;
 * after MPI_Finalize too. */
SUBLET_C_API int sublet_mpi_call_free(sublet_mpi_persistent** call);

/* What all ranks' leases have consumed so far. Collective over the communicator, the same result on
 * every rank. SUBLET_ERR_INVALID: a rank has released its workers. SUBLET_ERR_OTHER_RANK: another
 * rank's handle or pointer is null; a null handle says nothing of its communicator, and is told to
 * the others only where that rank has leased for one communicator and no other is open.
 * SUBLET_ERR_COMM_FREED, SUBLET_ERR_FINALIZED. Calls MPI, as sublet_mpi_open does, on a
 * communicator of its own. */
SUBLET_C_API int sublet_mpi_usage(sublet_allocator* allocator, sublet_usage* usage);

/* One timeline of all ranks (hint sublet_trace), written by rank 0 to its `path`. Collective,
 * errors and threads as above. */
SUBLET_C_API int sublet_mpi_write_trace(sublet_allocator* allocator, const char* path);

/* Ends this rank's lease. Local, may be called again. Any thread level; the lease's thread. */
SUBLET_C_API int sublet_mpi_release(sublet_allocator* allocator);

/* Local. Accepts the address of a null handle, leaves null behind; after MPI_Finalize too. Any
 * thread level; the lease's thread. */
SUBLET_C_API int sublet_mpi_free(sublet_allocator** allocator);

/* ---- Calls where MPI waits ---- */

/* Makes of a call under way an MPI request, for MPI_Wait, MPI_Waitall, MPI_Test and their kin,
 * together with messages. The handle stays, and may be used for the next call or freed at once. The
 * end of the call is told by `*reply`, which may be null, and must stay valid until then like input
 * and output; and by MPI's status: MPI_Get_elements with MPI_BYTE is the size of the output. A call
 * that has ended badly is an error of the wait, of the class that stands for its code;
 * sublet_last_error() is its text then.
 *
 * MPI_Request_free leaves the call running. MPI_Cancel fails with SUBLET_ERR_NOT_CANCELLED. A call
 * whose lease ends first, with its communicator or in MPI_Finalize, ends with SUBLET_ERR_CLOSED.
 * SUBLET_ERR_HANDLE: there is no call in the handle. SUBLET_ERR_UNSUPPORTED: neither Open MPI nor
 * MPICH, and no MPI_THREAD_MULTIPLE; sublet_waitall does without. SUBLET_ERR_NOT_INITIALIZED,
 * SUBLET_ERR_FINALIZED. docs/how-to/wait.md says what it costs.
 *
 * The thread that uses the lease; calls MPI, as sublet_mpi_open does. With MPI_THREAD_SERIALIZED
 * and above all uses of the lease take a lock from then on, and any thread may wait. */
SUBLET_C_API int sublet_mpi_request(sublet_invocation* invocation, sublet_reply* reply,
                                    MPI_Request* request);
/* The same for handles of Fortran. */
SUBLET_C_API int sublet_mpi_request_fint(sublet_invocation* invocation, sublet_reply* reply,
                                         MPI_Fint* request);

/* Waits for calls and for MPI requests at once, with any MPI. Null handles among `invocations` are
 * passed over; `replies`, which may be null, has room for all of them. `statuses` as for
 * MPI_Waitall. Returns MPI's error when requests have failed, then calls may be under way; else
 * the error class of the first call that ended badly, if one has. Calls MPI, as above. */
SUBLET_C_API int sublet_waitall(int calls, sublet_invocation* const invocations[],
                                sublet_reply replies[], int requests, MPI_Request mpi_requests[],
                                MPI_Status statuses[]);
/* The same for handles of Fortran; `statuses`, which may be null, has MPI_STATUS_SIZE integers for
 * each request. */
SUBLET_C_API int sublet_waitall_fint(int calls, sublet_invocation* const invocations[],
                                     sublet_reply replies[], int requests, MPI_Fint mpi_requests[],
                                     MPI_Fint statuses[]);

/* How sublet_mpi_request lets MPI know: "progress" (Open MPI), "poll" (MPICH), "helper" (a thread),
 * "none"; "unknown" without MPI_Init. Lives as long as the program. */
SUBLET_C_API const char* sublet_mpi_request_path(void);

/* What that will be when MPI is initialised with MPI_THREAD_MULTIPLE, as `sublet doctor` shows it.
 * Any time, any thread. "none": sublet_last_error() says why. */
SUBLET_C_API const char* sublet_mpi_request_path_offered(void);

/* The error class that stands for a code of <sublet/codes.h>, for programs that pass on errors of
 * <sublet.h> through MPI. Local. SUBLET_ERR_NOT_INITIALIZED, SUBLET_ERR_FINALIZED: MPI has no
 * classes then. May call MPI. */
SUBLET_C_API int sublet_mpi_error_class(int code, int* error_class);

/* The code that an error of these functions stands for; codes stand for themselves. An error that
 * is not Sublet's is SUBLET_ERR_INTERNAL. Calls no MPI: any time, any thread. */
SUBLET_C_API int sublet_mpi_code(int error);

#ifdef __cplusplus
}
#endif

#endif /* SUBLET_MPI_H */
