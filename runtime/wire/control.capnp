# The control plane: who says what to whom. Never on the path of an invocation.
#
# PROTOCOL  Two-party Cap'n Proto RPC over Unix sockets and TCP. A process's bootstrap capability is
#           its ResourceManager or ExecutorManager. Refusals are a Failure in the results (null when
#           the call succeeded); RPC exceptions mean a broken connection or a bug.
# STATES    A grant: reserved -> granted -> claimed -> ended. It lapses when unclaimed for the
#           claim timeout. A claimed grant lives until its ClaimedLease capability is dropped (the
#           client released it or died), it expires, it is revoked, or its node ends. One that is
#           claimed to be kept may be claimed again and again, by one client at a time, for as long
#           as its keeper's capability lives.
# LIMITS    runtime/wire/limits.hpp.

@0xb0f2c6d1e4a93857;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("sublet::wire");

struct Failure {
  kind @0 :UInt8;   # sublet::ErrorKind
  text @1 :Text;
}

struct Usage {
  invocations @0 :UInt64;
  computeNs @1 :UInt64;
  hotPollNs @2 :UInt64;
  bytesIn @3 :UInt64;
  bytesOut @4 :UInt64;
  coreMs @5 :UInt64;       # cores held times the wall time they were held
  gpuMs @6 :UInt64;        # the same of GPUs
}

# Calls that have run for about as long, see call_times.hpp.
struct CallCount {
  bucket @0 :UInt16;
  calls @1 :UInt64;
}

enum Placement { pack @0; spread @1; near @2; }

struct LeaseRequest {
  cores @0 :UInt32;        # workers per part
  parts @1 :UInt32;
  memoryBytes @2 :UInt64;  # per part
  durationMs @3 :UInt64;
  placement @4 :Placement;
  hotTimeoutMs @5 :Int64;  # -1 always hot, 0 never
  slots @6 :UInt32;
  arenaBytes @7 :UInt64;
  clientNodeId @8 :Text;   # for placement near
  owner @9 :Text;          # user@node, for people to read
  coresPerWorker @10 :UInt32 = 1;
  slurmJob @11 :UInt32;    # SLURM_JOB_ID of who asks; 0: none
  priority @12 :Int32;     # where requests wait, the higher is served first; above 0: operators'
  noticeMs @13 :UInt64 = 5000;  # how long before it is taken away its client is told
  waitMs @14 :UInt64;      # for cores to come free; 0: it is refused when there are none
  # Who may claim: for each part the public key of its holder, 32 bytes, one after the other.
  holders @15 :Data;
  gpusPerWorker @16 :UInt32;
}

# One node's share of one part of a lease.
struct Grant {
  leaseId @0 :UInt64;
  part @1 :UInt32;
  cores @2 :UInt32;        # workers
  # The node, for clients: who it is, and the addresses of its executor manager, best first.
  nodeName @3 :Text;
  nodeId @4 :Text;
  addresses @5 :List(Text);
  # Of the data connections: 16 bytes. Between the managers only; a client is told when it claims.
  token @6 :Data;
  expiresUnixMs @7 :Int64;
  slots @8 :UInt32;
  arenaBytes @9 :UInt64;
  # Between the managers only: what an executor manager is told, and tells a restarted resource
  # manager again.
  memoryBytes @10 :UInt64;
  hotTimeoutMs @11 :Int64;
  owner @12 :Text;
  ownerUid @13 :UInt32;
  claimed @14 :Bool;
  coresPerWorker @15 :UInt32 = 1;
  slurmJob @16 :UInt32;
  heldMs @17 :UInt64;      # for how long the node has held it, or had
  ownerByKey @18 :Bool;    # ownerUid is a key file's owner, who need not be the process's user
  priority @19 :Int32;
  noticeMs @20 :UInt64 = 5000;
  # For clients: what the grant is claimed with, see signed_grant.hpp.
  sealed @21 :Data;
  gpusPerWorker @22 :UInt32;
}

# What `sublet lease` writes for the programs that use its lease: secrets.
struct KeptLease {
  leaseId @0 :UInt64;
  manager @1 :Text;        # address of the resource manager
  grants @2 :List(Grant);
  holderSeed @3 :Data;     # of the key that the grants are claimed with
}

# A grant that has ended on its node. The node tells it again on each registration until it has heard
# that it is kept.
struct EndedGrant {
  grant @0 :Grant;
  reason @1 :Text;
  usage @2 :Usage;         # in all
  agoMs @3 :UInt64;        # how long ago it ended
}

struct Gpu {
  uuid @0 :Text;
  name @1 :Text;           # of its model; empty: not known
  memoryBytes @2 :UInt64;  # 0: not known
}

struct NodeDescription {
  name @0 :Text;
  nodeId @1 :Text;         # boot id "/" node name
  cores @2 :UInt32;        # as offered, oversubscription included
  memoryBytes @3 :UInt64;
  cpuset @4 :Text;         # hwloc list syntax
  addresses @5 :List(Text);
  widestWorker @6 :UInt32; # the most cores that one worker can have; 0: as `cores`
  # Of its executor manager, for as long as that runs: the audience of grants for this node. 32 bytes.
  key @7 :Data;
  # How far the node's clock is ahead of the resource manager's, and how wrong that may be: measured
  # before it registers.
  clockAheadMs @8 :Int64;
  clockErrorMs @9 :UInt32;
  gpus @10 :List(Gpu);
}

struct NodeStatus {
  node @0 :NodeDescription;
  freeCores @1 :UInt32;
  freeMemoryBytes @2 :UInt64;
  state @3 :Text;          # up, draining, lost
  heartbeatAgeMs @4 :UInt64;
  warmExecutors @5 :UInt32; # processes that are ready to become executors
  freeGpus @6 :UInt32;
}

struct LeaseStatus {
  leaseId @0 :UInt64;
  state @1 :Text;          # waiting, reserved, granted, active, ending, ended
  owner @2 :Text;
  cores @3 :UInt32;        # of all workers together
  nodes @4 :List(Text);
  expiresUnixMs @5 :Int64; # of one that waits: when it waits no more
  usage @6 :Usage;
  ownerUid @7 :UInt32 = 0xffffffff;  # not proved, or of several users
  slurmJob @8 :UInt32;
  priority @9 :Int32;
  noticeMs @10 :UInt64;
  reason @11 :Text;        # why it is ending, or has ended
  waitedMs @12 :UInt64;    # of one that waits: until now
  place @13 :UInt32;       # of one that waits: from 1 on, in the order in which they are served
  gpus @14 :UInt32;        # of all workers together
}

# 2^64-1: without a limit.
struct Quota {
  cores @0 :UInt64 = 0xffffffffffffffff;        # held at one time
  coreSeconds @1 :UInt64 = 0xffffffffffffffff;  # of a day (UTC)
}

# What one user may have, and has.
struct QuotaStatus {
  everybody @0 :Bool;      # this is the quota of users who have none of their own
  uid @1 :UInt32;
  user @2 :Text;           # a name, where the manager knows one
  own @3 :Bool;            # `quota` was set for this user
  quota @4 :Quota;
  heldCores @5 :UInt64;
  usedCoreSeconds @6 :Float64;      # today
  promisedCoreSeconds @7 :Float64;  # today, to leases that he has
  waiting @8 :UInt32;      # requests
  share @9 :Float64;       # cores held of late, as the order of requests counts them
}

# What a node says, as it leaves, of the leases that it had when it began to drain.
struct DrainTally {
  inOrder @0 :UInt32;      # leases that ended before the time was over
  cutOff @1 :UInt32;       # that ended because it was over, or the node was told to end at once
  unclaimed @2 :UInt32;    # that no client had claimed
  broken @3 :UInt32;       # whose executor ended by itself without having drained
  callsFinished @4 :UInt64;  # since the node began to drain
  callsCutOff @5 :UInt64;    # of leases cut off: calls that were running
  workersUnknown @6 :UInt64; # of leases cut off: workers whose executor had to be killed, so that
                             # nobody knows whether a call was running
}

enum DrainEnd {
  left @0;       # it has said goodbye
  lost @1;       # it was silent for too long, or was forgotten
  returned @2;   # its executor manager ended without goodbye, and runs again
  cancelled @3;
  draining @4;   # the wait is over, and it still drains
}

struct DrainedNode {
  nodeId @0 :Text;
  end @1 :DrainEnd;
  tally @2 :DrainTally;    # null: the node did not say
  leasesLost @3 :UInt32;   # that were on a node that was lost
}

enum LedgerGrouping { grants @0; users @1; jobs @2; leases @3; nodes @4; }

# Which grants of the ledger are asked for: those that fit all that is set.
struct LedgerQuery {
  grouping @0 :LedgerGrouping;
  user @1 :Text;           # a name, or a uid in decimal; empty: all
  job @2 :UInt32;          # Slurm's; 0: all
  leaseId @3 :UInt64;      # 0: all
  node @4 :Text;           # its name; empty: all
  # Grants that began from the one time on and before the other; 0: no bound.
  sinceUnixMs @5 :Int64;
  untilUnixMs @6 :Int64;
  after @7 :Int64;         # `next` of the page before, 0 for the first one
}

# One grant, or all those of one user, job, lease or node.
struct LedgerEntry {
  uid @0 :UInt32;          # 2^32-1: not proved
  user @1 :Text;
  job @2 :UInt32;
  leaseId @3 :UInt64;
  part @4 :UInt32;
  node @5 :Text;
  grants @6 :UInt64;
  open @7 :UInt64;         # of these: not ended
  unsure @8 :UInt64;       # of these: ended without a last word of their node's
  cores @9 :UInt32;        # of one grant
  memoryBytes @10 :UInt64; # of one grant
  beginUnixMs @11 :Int64;  # the first
  endUnixMs @12 :Int64;    # the last; 0 when one is open
  end @13 :Text;           # of one grant: how it is known that it ended
  reason @14 :Text;        # of one grant
  usage @15 :Usage;
  memoryByteSeconds @16 :Float64;
  cost @17 :Float64;
  gpus @18 :UInt32;        # of one grant
}

interface ResourceManager {
  # Reserves cores and tells the executor managers before it answers. All parts or nothing. One that
  # waits is given up by cancelling the call.
  # Dropping `handle` ends the grants that nobody has claimed; claimed ones do not notice.
  lease @0 (request :LeaseRequest) -> (failure :Failure, handle :LeaseHandle, grants :List(Grant));
  # More time, counted from now. The token of any grant of the lease proves the right to ask.
  extend @1 (leaseId :UInt64, token :Data, durationMs :UInt64)
      -> (failure :Failure, expiresUnixMs :Int64);
  # kDenied in these two: the caller may not look.
  nodes @2 () -> (nodes :List(NodeStatus), failure :Failure);
  leases @3 (includeEnded :Bool) -> (leases :List(LeaseStatus), failure :Failure);
  # An executor manager joins, with the grants it still holds. When `registration` is dropped or the
  # connection breaks, the node is lost until it registers again, with the same `addresses` (or it is
  # taken for a second executor manager of that node, and refused while the first one's connection
  # lives).
  # `ended`: the grants that have ended since, of which it has not heard that they are kept.
  register @4 (node :NodeDescription, held :List(Grant), control :NodeControl,
               ended :List(EndedGrant))
      -> (failure :Failure, registration :NodeRegistration, heartbeatMs :UInt32);
  # `instance` differs from one run of a manager to the next: see wire/manager_address.hpp.
  version @5 () -> (version :Text, instance :Text);
  # Gives the node called `node` back: no new leases on it, and its executor manager is told to end
  # those that it has within `limitMs`, and then itself. Answers once it has been told, or with
  # `wait` when it is known what became of it: of each node of that name, in `drained`. The wait ends
  # some seconds after `limitMs`. kOverloaded: the caller waits for too many already.
  # `ownNotice`: each lease has its own notice period, if that is less than `limitMs`.
  drain @6 (node :Text, limitMs :UInt64, reason :Text, wait :Bool, ownNotice :Bool)
      -> (failure :Failure, drained :List(DrainedNode));
  # Of this manager, over all its sockets. `closed` and `refused`, since its start: for others, when
  # there were as many as there may be.
  connections @7 () -> (now :UInt64, limit :UInt64, closed :UInt64, refused :UInt64);
  # Takes a drain back: the node gets leases again. kInvalid: it does not drain, or cannot go back.
  cancelDrain @8 (node :Text) -> (failure :Failure);
  # Ends a lease; its client is told who did, and `reason`. Answers once its cores are free; with
  # `notice` once its nodes have been told: it ends `leftMs` from then on, 0: it has ended. A request
  # that waits has a number too, and waits no more.
  release @9 (leaseId :UInt64, reason :Text, notice :Bool) -> (failure :Failure, leftMs :UInt64);
  # Removes the lost nodes of that name, and ends the `leases` on them as lost. `up`: nodes of that
  # name that are connected, and stay. kInvalid: none is lost.
  forget @10 (node :Text)
      -> (failure :Failure, forgotten :UInt32, leases :UInt32, up :UInt32);
  # One page of the ledger. `next`, when there is more: to be asked for as `after`. kUnsupported: this
  # manager keeps no ledger.
  ledger @11 (query :LedgerQuery)
      -> (failure :Failure, entries :List(LedgerEntry), next :Int64);
  # Checks the ledger against itself. `problems` are some of those that were found.
  verifyLedger @12 ()
      -> (failure :Failure, grants :UInt64, found :UInt64, problems :List(Text));
  # Sets what is `set...` of the quota of user `uid`, or of all who have none of their own
  # (`everybody`). `clear`: he has none of his own any more.
  setQuota @13 (everybody :Bool, uid :UInt32, clear :Bool, setCores :Bool, setCoreSeconds :Bool,
                quota :Quota) -> (failure :Failure);
  # Everybody's, and of each user who has something or a quota of his own; for who is no operator,
  # everybody's and his own.
  quotas @14 () -> (failure :Failure, quotas :List(QuotaStatus));
  # What an executor manager must know before it registers: the time here, the key that grants are
  # signed with (32 bytes), and how far apart clocks may be.
  clock @15 () -> (unixMs :Int64, grantKey :Data, toleranceMs :UInt64);
}

interface LeaseHandle {}

# What an executor manager tells the resource manager.
interface NodeRegistration {
  # An exception of type DISCONNECTED: the registration is void, register again.
  # `endsKept`: so many of this registration's ended grants, in the order in which they were told, those
  # of `register` first, need not be told again.
  # `direct...`: what the node has leased by itself, to clients that ask no resource manager.
  heartbeat @0 (directCores :UInt32, directMemoryBytes :UInt64, directGpus :UInt32)
      -> (endsKept :UInt64);
  claimed @1 (leaseId :UInt64, part :UInt32);
  # The cores are free again. `grant`: for a resource manager that does not know it.
  ended @2 (leaseId :UInt64, part :UInt32, reason :Text, usage :Usage, grant :Grant);
  usage @3 (leaseId :UInt64, part :UInt32, usage :Usage);
  # The node takes no new grants: it will end those it has, and leave.
  draining @4 ();
  # The node leaves for good, and its grants have ended. Answers after all that was said before.
  # `tally` when it has drained.
  leave @5 (tally :DrainTally);
  # So many processes are ready on the node to become executors.
  warm @6 (executors :UInt32);
  # How long the node's calls have run, of those that were not told yet: those of each bucket that
  # has some, and their times together. Each is told once; what a broken connection loses stays lost.
  callTimes @7 (calls :List(CallCount), totalNs :UInt64);
}

# What the resource manager tells an executor manager.
interface NodeControl {
  grant @0 (grant :Grant) -> (failure :Failure);
  # Answers once the grant is gone and its cores are free (after NodeRegistration.ended, at once for
  # a grant that is not known), or, with `unclaimedOnly`, at once with `held` when a client has
  # claimed it: then it stays.
  revoke @1 (leaseId :UInt64, part :UInt32, reason :Text, unclaimedOnly :Bool) -> (held :Bool);
  extend @2 (leaseId :UInt64, part :UInt32, expiresUnixMs :Int64) -> (failure :Failure);
  # Ends its grants within `limitMs`, tells their clients so first, then leaves and ends. One that
  # drains already goes on as it was told before.
  drain @3 (limitMs :UInt64, reason :Text, ownNotice :Bool) -> (failure :Failure);
  # Goes on as if it had not been told to drain. kInvalid: its last grant has ended and it leaves, or
  # it drains because of a signal. `drained`: it did drain.
  cancelDrain @4 () -> (failure :Failure, drained :Bool);
  # Tells the client that the grant ends in `leftMs`, and ends it then; it cannot be extended any
  # more. kInvalid: no client has it.
  endSoon @5 (leaseId :UInt64, part :UInt32, leftMs :UInt64, reason :Text) -> (failure :Failure);
}

struct WorkerDescription {
  cpuset @0 :Text;         # hwloc list syntax
  gpus @1 :List(Text);     # UUIDs
}

struct DataAddress {
  transport @0 :Text;      # its name
  # As that transport's listener says it; "*" in place of a host means the one that the executor
  # manager was reached at.
  address @1 :Text;
}

# Where the executor of a claimed grant takes data connections.
struct Endpoint {
  generation @0 :UInt32;   # counts the executors of this grant, from 1
  addresses @1 :List(DataAddress);
  refusals @2 :List(Text); # why it cannot be reached by other transports that were asked for
  local @3 :Text;          # for clients on its own node: the name of an abstract Unix socket,
                           # without the leading zero byte
}

# What one part of a lease gets of a node.
struct DirectShare {
  part @0 :UInt32;
  workers @1 :UInt32;
  memoryBytes @2 :UInt64;
}

interface ExecutorManager {
  # `grant` is Grant.sealed, `proof` the holder's (signed_grant.hpp). kDenied: they are not good here,
  # or the grant has ended or been claimed. `transports`: those to other nodes that the client wants
  # to connect by; the executor opens them before this answers. `token`: of the data connections.
  # `keep`: the grant is held for others who have the holder's key: they claim it in the same way, one
  # at a time, each with a new executor. kOverloaded: one of them has it.
  claim @0 (grant :Data, notices :LeaseNotices, transports :List(Text), proof :Data, keep :Bool)
      -> (failure :Failure, lease :ClaimedLease, endpoint :Endpoint,
          workers :List(WorkerDescription), expiresUnixMs :Int64, token :Data);
  version @1 () -> (version :Text);
  # For clients that know this node and no resource manager: what it has. kDenied: it leases through
  # a resource manager alone.
  look @2 () -> (failure :Failure, node :NodeStatus);
  # Reserves `shares` of the lease, all or nothing. `leaseId` is the client's choice, see
  # signed_grant.hpp; `request.holders` has one key for each share. `handle` as in
  # ResourceManager.lease.
  lease @3 (request :LeaseRequest, leaseId :UInt64, shares :List(DirectShare))
      -> (failure :Failure, handle :LeaseHandle, grants :List(Grant));
}

# Holding it keeps the lease's share of this node; dropping it gives it back.
interface ClaimedLease {
  # Makes function `name` of the library with this content answer to number `index` (chosen by the
  # client, at most once per number). `missing`: the content is not in the cache; install it and
  # ask again. `endedGeneration`, beside a failure: loading the library has ended the executor of
  # that generation, 0 if not. Its successor does not get the library.
  open @0 (index :UInt16, sha256 :Data, libraryName :Text, name :Text, timeoutMs :UInt64)
      -> (failure :Failure, missing :Bool, endedGeneration :UInt32);
  # Puts a library into the cache, or a program for become; its SHA-256 is computed here.
  install @1 (content :Data, program :Bool) -> (failure :Failure, sha256 :Data);
  usage @2 () -> (usage :Usage);
  # Answers once an executor newer than `generation` runs with all functions opened again, or says why
  # there will be none.
  replacement @3 (generation :UInt32) -> (failure :Failure, endpoint :Endpoint);
  # How the executor of that generation ended, for a client that lost its connection to it. Answers
  # once it is known. `lastStarted`, of one that has drained: for each worker the number, in its
  # channel, of the last call that it has begun; those after it may run elsewhere. `kind`: sublet::ErrorKind,
  # of one whose program cannot be run.
  fate @4 (generation :UInt32) -> (text :Text, lastStarted :List(UInt32), kind :UInt8 = 2);
  # Lets the executors of this lease run the client's own program, whose functions are opened with
  # its SHA-256 in place of a library's: once, before anything is opened. `missing` as in open.
  # `surroundings`: what the program has around it in the client (application_text.hpp).
  # `transports` as in claim, which asked for none.
  become @5 (sha256 :Data, name :Text, surroundings :Text, transports :List(Text))
      -> (failure :Failure, missing :Bool, endpoint :Endpoint);
  # More time for what the node leased by itself, counted from now. kUnsupported: a resource manager
  # granted it, and is to be asked.
  extend @6 (durationMs :UInt64) -> (failure :Failure, expiresUnixMs :Int64);
}

# What an executor manager tells the client of a claimed lease.
interface LeaseNotices {
  # `leaving`: the node is being given back, so no extension can help. Nothing new should be
  # submitted to it; once nothing is under way there its executor ends, at the latest after `leftMs`.
  ending @0 (leftMs :UInt64, reason :Text, leaving :Bool);
  lost @1 (reason :Text);
  # The node does not leave after all: what `ending` said of it with `leaving` is taken back.
  stays @2 ();
}
