#pragma once

// clang-format off
// PROTOCOL  Between an executor manager, its zygote and its executors, all on one node and all of
//           one build: fixed-size messages over SOCK_SEQPACKET socketpairs, file descriptors beside
//           them (SCM_RIGHTS). One packet is one message: a MessageHeader, then the struct of its
//           type. The zygote and the manager trust each other; what an executor sends is hostile
//           until checked (it runs user code).
// STATES    zygote: starts -> kZygoteReady -> any number of kSpawn / kSpawned / kKill / kExited / kSpares. When the
//           manager's end of the socket closes it kills its executors and exits.
//           executor: forked -> kReady -> any number of kOpen / kOpened and kListen / kListening
//           -> kStop, idle for a while after kDrain, or the socket closes -> exits 0. kResume
//           takes kDrain back while workers still take calls. kBecome, before any kOpen and kListen,
//           runs the client's own program in place of the executor: forked -> kReady -> kBecome ->
//           kBecame -> as above.
// LIMITS    limits.hpp; texts are cut to kMaxText and always zero-terminated.
// clang-format on

#include <wire/call_times.hpp>
#include <wire/limits.hpp>

#include <array>
#include <cstdint>

namespace sublet::wire {

enum class MessageType : std::uint32_t {
  kZygoteReady = 1,  ///< zygote -> manager: ZygoteReady; fd: its pidfd, of one in a container
  kSpawn,            ///< manager -> zygote: Spawn; fds: control socket, listening data socket,
                     ///< accounting memory
  kSpawned,          ///< zygote -> manager: Spawned; fd: pidfd (none when error != 0, or where
                     ///< the system refuses pidfd_open)
  kExited,           ///< zygote -> manager: Exited
  kReady,            ///< executor -> manager: Ready
  kOpen,             ///< manager -> executor: Open; fd: sealed memfd with the library
  kOpened,           ///< executor -> manager: Opened
  kListen,           ///< manager -> executor: Listen
  kListening,        ///< executor -> manager: Listening
  kDying,            ///< executor, or a zygote that cannot start -> manager: Dying, written just
                     ///< before a fatal end
  kStop,             ///< manager -> executor: no body
  kDrain,            ///< manager -> executor: no body; end once all workers are idle
  kKill,             ///< manager -> zygote: Kill; where the manager has no pidfd that works
  kResume,           ///< manager -> executor: no body; takes kDrain back, unless it is ending
  kBecome,           ///< manager -> executor: Become; fds: sealed memfds with the program and with
                     ///< what it expects around it (application_text.hpp)
  kBecame,           ///< executor -> manager: Ready; it runs that program now
  kSpares,  ///< manager -> zygote: Spares, how many processes it may keep ready for orders;
            ///< zygote -> manager: Spares, how many it has. A zygote passes its kSpawn on
            ///< to one that it has
};

struct MessageHeader {
  MessageType type;
  std::uint32_t size;  ///< Of the struct that follows, bytes.
};

struct ZygoteReady {
  double ticks_per_ns;
};

inline constexpr std::size_t kMaxCpusetText = 1024;
inline constexpr std::size_t kMaxGpusText = kMaxGpus * (kMaxGpuUuid + 1);
inline constexpr std::size_t kMaxDirectory = 1023;  ///< Bytes of a path.
/// Of the account that Spawn::uid has on the node; without one the executor does not start.
inline constexpr std::uint32_t kGroupOfAccount = ~std::uint32_t{0} - 1;

struct Spawn {
  std::uint64_t request;  ///< Echoed in Spawned.
  std::uint64_t lease_id;
  std::uint32_t part;
  std::uint32_t generation;
  std::uint32_t workers;
  std::uint32_t slots;
  std::uint32_t cores_per_worker;
  std::uint64_t memory_bytes;  ///< RLIMIT_DATA above what the executor itself has; 0: no limit.
  std::uint64_t max_arena_bytes;
  std::int64_t hot_timeout_ms;
  std::uint64_t stack_bytes;  ///< Of each worker; 0: the usual.
  std::uint32_t uid;          ///< To run as; ~0: unchanged.
  std::uint32_t gid;          ///< ~0: unchanged; or kGroupOfAccount.
  std::uint32_t hidden;       ///< 1: other processes of its user may not look into it, or trace it.
  base::Token token;
  std::array<char, kMaxDirectory + 1> core_directory;  ///< For core files; empty: none.
  /// One hwloc list per worker, separated by ';', zero-terminated: "0;1;2-3".
  std::array<char, 8 * kMaxCpusetText> cpusets;
  /// UUIDs of the GPUs that it may use, those of the first worker first, separated by ',',
  /// zero-terminated; empty: none.
  std::array<char, kMaxGpusText> gpus;
};

struct Spawned {
  std::uint64_t request;
  std::int32_t pid;
  std::int32_t error;  ///< errno, 0 when it runs.
};

struct Kill {
  std::int32_t pid;
};

struct Spares {
  std::uint32_t count;
};

struct Exited {
  std::int32_t pid;
  std::int32_t wait_status;  ///< As waitpid gives it.
};

struct Ready {
  std::uint32_t workers;
};

struct Open {
  std::uint16_t index;
  std::uint64_t timeout_ms;  ///< 0: none.
  std::array<char, kMaxFunctionName + 1> name;
  std::array<char, kMaxFunctionName + 1> library;  ///< For messages only.
  std::array<std::uint8_t, kSha256Bytes> sha256;   ///< Names the content: loaded once.
};

struct Opened {
  std::uint16_t index;
  std::uint8_t ok;
  std::uint8_t kind;                ///< sublet::ErrorKind, when it is not.
  std::array<char, kMaxText> text;  ///< Why not.
};

/// Run this program, which has functions of its own, and go on as the executor there.
struct Become {
  std::array<char, kMaxFunctionName + 1> name;  ///< For messages only.
  std::array<std::uint8_t, kSha256Bytes> sha256;
};

inline constexpr std::size_t kMaxTransportName = 16;
inline constexpr std::size_t kMaxHostName = 256;

/// Take data connections over a network too.
struct Listen {
  std::array<char, kMaxTransportName> transport;  ///< Its name.
  // Places of which the transport takes what suits it (transport::ListenPlaces).
  std::array<char, kMaxHostName> host;
  std::array<char, kMaxHostName> device;
  std::array<char, kMaxHostName> client_network;
};

struct Listening {
  std::array<char, kMaxTransportName> transport;
  std::uint8_t ok;
  std::array<char, kMaxText> text;  ///< The address, or why there is none.
};

struct Dying {
  std::uint8_t status;              ///< sublet::Status: kCrashed, kExited or kTimedOut.
  std::uint8_t kind;                ///< sublet::ErrorKind, of an executor that does not start.
  std::array<char, kMaxText> text;  ///< Names the function and the cause.
};

/// One worker's counters, in the accounting memory: an array of these, one per worker. Written by
/// that worker alone, read by the executor manager at any time; each counter only grows.
struct alignas(128) WorkerCounters {
  std::uint64_t invocations;
  std::uint64_t compute_ticks;
  std::uint64_t hot_poll_ticks;
  std::uint64_t bytes_in;
  std::uint64_t bytes_out;
  // Written by the main thread of an executor that has drained, just before it ends.
  std::uint32_t drained;       ///< 1: the worker has stopped between two calls.
  std::uint32_t last_started;  ///< Then the number, in its channel, of the last call it has begun.
  // Written by the main thread of an executor that was told to stop, just before it ends.
  std::uint32_t stopped;  ///< kStoppedIdle or kStoppedInCall; else it did not get there.

  static constexpr std::uint32_t kStoppedIdle = 1;
  static constexpr std::uint32_t kStoppedInCall = 2;  ///< A call was running.

  /// Calls by how long their functions ran, see call_times.hpp.
  alignas(128) std::array<std::uint64_t, kCallTimeBuckets> call_times;
};
static_assert(sizeof(WorkerCounters) == 128 + 8 * kCallTimeBuckets);

}  // namespace sublet::wire
