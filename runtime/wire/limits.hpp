#pragma once

#include <base/token.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>

// Every named limit of the control plane. Each is checked where the value enters the process.
namespace sublet::wire {

using namespace std::chrono_literals;

using base::kTokenBytes;
inline constexpr std::size_t kSha256Bytes = 32;

inline constexpr std::uint32_t kMaxCoresPerPart = 4096;  ///< Of all its workers together.
inline constexpr std::uint32_t kMaxParts = 65536;
inline constexpr std::uint32_t kMaxGpus = 64;    ///< Of one node, and so of one worker.
inline constexpr std::size_t kMaxGpuUuid = 63;   ///< Bytes.
inline constexpr std::size_t kMaxGpuName = 127;  ///< Bytes.
inline constexpr std::uint32_t kMaxSlots = 1024;
inline constexpr std::uint32_t kMaxWorkersPerExecutor = 1024;
inline constexpr std::uint16_t kMaxFunctions = 1024;         ///< Per lease.
inline constexpr std::size_t kMaxFunctionName = 255;         ///< Bytes.
inline constexpr std::size_t kMaxLibraryBytes = 256u << 20;  ///< One function library.
inline constexpr std::size_t kMaxSurroundings = 256u << 10;  ///< Text around an application.
inline constexpr std::size_t kMaxCachedLibraries = 256;      ///< Per node, least recently used go.
inline constexpr std::size_t kMaxCachedBytes = 256u << 20;   ///< Of those libraries.
inline constexpr std::size_t kMaxLibraries = 128;            ///< In use by one grant.
inline constexpr std::size_t kMaxLibrariesBytes = 512u << 20;  ///< Of those.
inline constexpr std::size_t kMaxUnheardEnds = 4096;   ///< Of one node, that are told again.
inline constexpr std::size_t kMaxText = 512;           ///< Bytes of an error text on the wire.
inline constexpr std::size_t kMaxConnections = 16384;  ///< To one manager; see ulimit -n too.
inline constexpr std::size_t kMaxAddresses = 16;       ///< Of one executor manager.

// Messages to a manager. A connection that holds nothing, no lease and no registration, is a
// stranger's: it needs kilobytes, or a few megabytes to register a node with many grants.
inline constexpr std::size_t kSmallMessage = 4u << 10;  ///< Always finds room.
inline constexpr std::size_t kMaxStrangersMessage = 4u << 20;
inline constexpr std::size_t kMaxMessageBytes = 300u << 20;   ///< A library.
inline constexpr std::size_t kStrangersMessages = 32u << 20;  ///< Of all strangers, at one time.
inline constexpr std::size_t kHoldersMessages = 640u << 20;   ///< Of all others.
inline constexpr std::size_t kMaxPendingCalls = 256u << 10;   ///< Bytes of one peer's calls.
inline constexpr auto kFirstMessage = 30s;                    ///< From the connection on.
inline constexpr auto kMessageTime = 30s;  ///< To come, or to be taken; a long one has more.

/// A lease may be asked for, or extended from now on, for at most so long: nobody plans further,
/// and sums of times stay far from overflow.
inline constexpr auto kMaxLeaseDuration = std::chrono::hours(366 * 24);
inline constexpr auto kMaxWait = std::chrono::hours(7 * 24);  ///< For cores to come free.
inline constexpr std::int32_t kMaxPriority = 100;             ///< And the negative of it.
inline constexpr std::size_t kMaxWaiting = 4096;              ///< Requests, of all users.
inline constexpr std::size_t kMaxWaitingOfUser = 256;
inline constexpr std::size_t kMaxQuotas = 65536;  ///< Users with one of their own.
inline constexpr auto kClaimTimeout = 5s;         ///< An unclaimed grant lapses.
inline constexpr auto kHeartbeat = 1s;            ///< Executor manager to resource manager.
/// Between the clocks of a node and of the resource manager, unless an operator says otherwise.
inline constexpr auto kClockTolerance = 30s;
inline constexpr auto kNodeLostAfter = 5s;  ///< Without a heartbeat.
inline constexpr auto kDrainTold = 500ms;   ///< For clients to hear of it before executors may end.
inline constexpr auto kDrainMax = 24h;
/// After a drain's time is over: executors are stopped, and a node that says nothing more is lost.
inline constexpr auto kDrainMargin = 10s;
inline constexpr std::size_t kMaxDrainWaits = 16;       ///< That one caller waits for, at one time.
inline constexpr std::size_t kMaxAllDrainWaits = 1024;  ///< That all callers wait for.
inline constexpr auto kEndingNotice = 5s;    ///< A client is told this long before its lease ends.
inline constexpr auto kMaxNotice = 1h;       ///< The longest that it may ask for.
inline constexpr auto kReconnectMin = 50ms;  ///< Executor manager's back-off to a lost manager.
inline constexpr auto kReconnectMax = 2s;
inline constexpr auto kManagerCall = 2s;    ///< One call from manager to manager.
inline constexpr auto kRevokeCall = 4s;     ///< A revocation: includes stopping the executor.
inline constexpr auto kExecutorStart = 5s;  ///< From fork to ready.
inline constexpr auto kExecutorStop = 1s;   ///< From the request to stop to SIGKILL.
inline constexpr auto kLibraryLoad = 30s;   ///< dlopen and its constructors.
inline constexpr unsigned kMaxExecutorRestarts = 1000;  ///< Per grant, then it is lost.

}  // namespace sublet::wire
