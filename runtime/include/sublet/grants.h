#ifndef SUBLET_GRANTS_H
#define SUBLET_GRANTS_H

/* The part of <sublet.h>, which includes it, for programs that share a lease among processes by
 * their own means, and for those that look at a cluster:
 *
 *   sublet_holder mine;                                   each process says who it is
 *   int code = sublet_session_holder(session, &mine);
 *   ...                                                   and sends that to one, which asks for all
 *   sublet_grants* all = NULL;
 *   code = sublet_session_request(session, 2, processes, holders, NULL, &all);
 *   ...                                                   and sends process p its own:
 *   code = sublet_grants_pack(all, p, bytes, sizeof bytes, &size);
 *
 *   sublet_grants* mine = NULL;                           process p claims them
 *   code = sublet_grants_unpack(bytes, size, &mine);
 *   code = sublet_lease_claim(session, mine, NULL, &lease);
 *
 * MPI programs need none of this: <sublet_mpi.h> does it for all ranks at once. */

#include <sublet.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Grants: one process asks for a lease, others claim its parts ---- */

/* Rights to shares of a lease. Only the session that one was asked for can claim it. */
typedef struct sublet_grants sublet_grants;

/* A session that claims: the public half of its key, no secret. */
typedef struct sublet_holder {
  uint8_t key[32];
} sublet_holder;

/* Who `session` is when it claims. */
SUBLET_C_API int sublet_session_holder(sublet_session* session, sublet_holder* holder);

/* A session for a process that only claims: it connects to a resource manager when it needs one,
 * and never starts one. */
SUBLET_C_API int sublet_session_open_detached(const sublet_options* options,
                                              sublet_session** session);

/* Asks for a lease with `cores` workers for each of `parts` clients, and claims nothing: what
 * nobody claims in time (5 s by default) ends. `holders` are the sessions that will claim, one for
 * each part; null: this one claims all. Blocks. SUBLET_ERR_COUNT: a number is not positive.
 * SUBLET_ERR_OVERLOADED: so many cores are not free. */
SUBLET_C_API int sublet_session_request(sublet_session* session, int cores, int parts,
                                        const sublet_holder* holders, const sublet_options* options,
                                        sublet_grants** grants);

/* How many parts there are grants for: 1 of what was unpacked. */
SUBLET_C_API int sublet_grants_parts(const sublet_grants* grants, size_t* parts);

/* The grants for the client `part`, counted from 0, as bytes. `size` becomes how many these are;
 * `bytes`, which may be null, is written when its `capacity` is enough for them, and is left as it
 * was when it is not. SUBLET_ERR_COUNT: there is no such part. */
SUBLET_C_API int sublet_grants_pack(const sublet_grants* grants, size_t part, void* bytes,
                                    size_t capacity, size_t* size);

/* Checks what it reads. SUBLET_ERR_INVALID: the bytes are no grants. */
SUBLET_C_API int sublet_grants_unpack(const void* bytes, size_t size, sublet_grants** grants);

/* Ends what nobody has claimed of `grants`, which this session has asked for, at once. */
SUBLET_C_API int sublet_grants_give_back(sublet_session* session, const sublet_grants* grants);

/* Ends nothing. */
SUBLET_C_API int sublet_grants_free(sublet_grants** grants);

/* Claims grants of one part. With the options that they were asked for with: cores that are leased
 * in place of nodes that leave are like those. Blocks. SUBLET_ERR_DENIED: they are for another
 * session, have been claimed already, or have ended. */
SUBLET_C_API int sublet_lease_claim(sublet_session* session, const sublet_grants* grants,
                                    const sublet_options* options, sublet_lease** lease);

/* ---- What the resource manager has ---- */

typedef struct sublet_node_info {
  char name[256];
  char state[16];   /* "up", "draining" or "lost" */
  char cpuset[256]; /* in hwloc's list syntax; the beginning of a longer one */
  uint32_t cores;
  uint32_t free_cores;
  uint32_t widest_worker; /* the most cores that one worker can have */
  uint32_t gpus;
  uint32_t free_gpus;
  uint64_t memory_bytes;
  uint64_t free_memory_bytes;
  int64_t heartbeat_age_ms; /* since the resource manager last heard of it */
} sublet_node_info;

typedef struct sublet_lease_info {
  uint64_t id;
  char state[16];  /* "granted", "active", "ending" or "ended" */
  char owner[256]; /* user@node */
  char nodes[512]; /* names, with a comma between; the beginning of a longer list */
  uint32_t cores;  /* those of all its workers together */
  uint32_t gpus;   /* the same */
  int64_t expires_unix_ms;
  sublet_usage usage;
} sublet_lease_info;

/* All nodes, or leases: as many as `capacity` says are written to `nodes` or `leases`, which may be
 * null when that is 0. `count` becomes the number of all. Blocks. */
SUBLET_C_API int sublet_session_nodes(sublet_session* session, sublet_node_info* nodes,
                                      size_t capacity, size_t* count);
SUBLET_C_API int sublet_session_leases(sublet_session* session, sublet_lease_info* leases,
                                       size_t capacity, size_t* count);

#ifdef __cplusplus
}
#endif

#endif /* SUBLET_GRANTS_H */
