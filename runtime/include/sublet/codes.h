#ifndef SUBLET_CODES_H
#define SUBLET_CODES_H

/* What the functions of <sublet.h> return: SUBLET_SUCCESS or one of these. All are negative, so
 * none is ever mistaken for a code of MPI's, which are positive. Values never change their meaning.
 */

#define SUBLET_SUCCESS 0

/* How an invocation, or one step of it, ended: sublet::Status, one for one. */
#define SUBLET_ERR_AGAIN (-1)            /* no free slot: back-pressure, not a failure */
#define SUBLET_ERR_BAD_CALL (-2)         /* the request is malformed */
#define SUBLET_ERR_UNKNOWN_FUNCTION (-3) /* the executor has no such function */
#define SUBLET_ERR_OUTPUT_SIZE (-4)      /* the output needs more than the caller's buffer holds */
#define SUBLET_ERR_FUNCTION (-5)         /* the function reported an error of its own */
#define SUBLET_ERR_EXCEPTION (-6)        /* the function let a C++ exception escape */
#define SUBLET_ERR_CRASHED (-7)          /* the function raised a fatal signal */
#define SUBLET_ERR_EXITED (-8)           /* the function ended its process */
#define SUBLET_ERR_TIMED_OUT (-9)        /* the function ran past its timeout */
#define SUBLET_ERR_LOST (-10)            /* the executor vanished while the call was in flight */
#define SUBLET_ERR_CLOSED (-11)          /* the lease has ended, with MPI_Finalize for instance */
#define SUBLET_ERR_DEADLINE (-12)        /* the caller's own wait ended first */
#define SUBLET_ERR_REFUSED (-13)         /* the peer refused the connection */

/* Why something else failed: sublet::ErrorKind, one for one. */
#define SUBLET_ERR_INVALID (-32)      /* correct the arguments: the same call will fail again */
#define SUBLET_ERR_OVERLOADED (-33)   /* wait, or ask for less: resources are in use now */
#define SUBLET_ERR_DISCONNECTED (-34) /* the other side went away or did not answer in time */
#define SUBLET_ERR_DENIED (-35)       /* present other credentials */
#define SUBLET_ERR_UNSUPPORTED (-36)  /* this build or this machine cannot do it */
#define SUBLET_ERR_INTERNAL (-37)     /* report it: Sublet broke a promise of its own */
/* Of programs, and function libraries, that are to run on workers. */
#define SUBLET_ERR_NO_INIT (-38)        /* call sublet::init first of all in main() */
#define SUBLET_ERR_NO_APPLICATION (-39) /* link the program to libsublet */
#define SUBLET_ERR_TOO_LARGE (-40)      /* strip it: it has more bytes than executors take */
#define SUBLET_ERR_OTHER_BUILD (-41)    /* a node has another build of a shared object */
#define SUBLET_ERR_AMBIGUOUS (-42)      /* rename one of two functions that have one name */
#define SUBLET_ERR_STATIC_PROGRAM (-43) /* link the program dynamically */

/* Arguments that C lets through and C++ does not. */
#define SUBLET_ERR_HANDLE (-64)   /* a handle is null: never opened, or freed already */
#define SUBLET_ERR_ARGUMENT (-65) /* another pointer is null where it must not be */
#define SUBLET_ERR_COUNT (-66)    /* a number or a size is negative, or no memory is so large */
#define SUBLET_ERR_OPTION (-67)   /* there is no such option, or it cannot have this value */

/* Of <sublet_mpi.h> only. */
#define SUBLET_ERR_COMM (-80)            /* the communicator is MPI_COMM_NULL or invalid */
#define SUBLET_ERR_COMM_FREED (-81)      /* the communicator of the handle has been freed */
#define SUBLET_ERR_INTERCOMM (-82)       /* it is an intercommunicator */
#define SUBLET_ERR_NOT_INITIALIZED (-83) /* MPI_Init has not been called yet */
#define SUBLET_ERR_FINALIZED (-84)       /* MPI_Finalize has been called already */
#define SUBLET_ERR_OTHER_RANK (-85)      /* the arguments of another rank are at fault */
#define SUBLET_ERR_OTHER_MPI (-86)       /* another MPI runs than the one Sublet's layer is for */
#define SUBLET_ERR_NOT_CANCELLED (-87)   /* MPI_Cancel: a call that has begun goes on to its end */
#define SUBLET_ERR_DIFFER (-88)          /* arguments differ between ranks that must not */
#define SUBLET_ERR_TYPE (-89)            /* the datatype is null, not committed or of no use */
#define SUBLET_ERR_UNDER_WAY (-90)       /* the persistent call has been started already */

#endif /* SUBLET_CODES_H */
