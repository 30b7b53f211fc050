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
 * Collective: of the arguments, rank 0's count. A failure anywhere is a failure on every rank, and
 * none waits for another that has given up: where arguments of one rank are at fault, the others
 * get SUBLET_ERR_OTHER_RANK.
 *
 * `hints`, or MPI_INFO_NULL: the options of <sublet.h>, their names preceded by "sublet_", for
 * instance "sublet_memory_bytes". Other keys are ignored, as are the options slots and replace and
 * those of functions.
 *
 * SUBLET_ERR_COMM: `comm` is MPI_COMM_NULL or invalid. SUBLET_ERR_INTERCOMM,
 * SUBLET_ERR_NOT_INITIALIZED, SUBLET_ERR_FINALIZED. SUBLET_ERR_COUNT: `workers_per_rank` is not
 * positive. SUBLET_ERR_OPTION: a hint of Sublet's is wrong. SUBLET_ERR_OVERLOADED: so many cores
 * are not free.
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

/* What all ranks' leases have consumed so far. Collective over the communicator, the same result on
 * every rank. SUBLET_ERR_INVALID: a rank has released its workers. SUBLET_ERR_COMM_FREED,
 * SUBLET_ERR_FINALIZED. Calls MPI, as sublet_mpi_open does, on a communicator of its own. */
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

/* How sublet_mpi_request lets MPI know: "progress" (Open MPI), "poll" (MPICH), "helper" (a thread),
 * "none"; "unknown" without MPI_Init. Lives as long as the program. */
SUBLET_C_API const char* sublet_mpi_request_path(void);

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
