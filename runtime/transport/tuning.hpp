#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

// Every tunable of the data plane, each with the reason for its value.
namespace sublet::transport::tuning {

using namespace std::chrono_literals;

/// Slots of a channel: hides the round trip of small calls (30 ns a call with 16 in flight against
/// 70 ns alone, measured on shm) and fits a request ring into one page.
inline constexpr std::uint32_t kDefaultSlots = 16;

/// A gap of this length in a spin loop means that the thread was descheduled: an interrupt takes
/// less, a scheduler's slice more.
inline constexpr auto kDescheduledGap = 200us;

/// How long a thread that was descheduled assumes that cores are short: long enough to meet the
/// next slice, short enough to notice that a neighbour has gone.
inline constexpr auto kContentionMemory = 20ms;

/// The upper limit of that time, which doubles while it happens again and again. Finding out costs
/// a slice (some ms), which is less than one per cent of this. Four spinning workers and two
/// clients on two cores make 5 to 10 times as many calls as with 20 ms each time.
inline constexpr auto kContentionMemoryMax = 1s;

/// How long a thread spins (yielding) before it sleeps while cores are short: about what being
/// woken costs, so that waiting never costs more than twice the best choice.
inline constexpr auto kContendedSpin = 20us;

/// A client that waits longer than this for a reply sleeps until it comes: its wake-up then costs
/// at most a few per cent of the call.
inline constexpr auto kClientSpin = 1ms;

/// How often a waiting client asks the system whether its peer is alive (one poll(2)).
inline constexpr auto kPeerCheck = 20ms;

/// The longest a side sleeps before it looks around by itself. It bounds the harm of a wake-up that
/// a hostile or dying peer never sends; between honest peers it is never needed.
inline constexpr auto kSleepSlice = 100ms;

/// A peer counts as dead when its host has left questions unanswered for this long: its network was
/// cut or its machine lost power. (When only the process dies, its system says so at once.) Long
/// enough for a link that renegotiates or a route that changes (1 to 3 s), short enough that a step
/// of an application can be run again elsewhere.
inline constexpr auto kPeerTimeout = 5s;

/// How often an executor looks whether the hosts of its clients still answer.
inline constexpr auto kLinkCheck = 1s;

/// The first polls of an idle worker, with no pause and no clock between them: calls that follow
/// each other on one node arrive within these (about 5 ns each, more while the line travels).
/// Measured, cores that share a cache: 97 ns a call, 104 with pauses. Not for the client: it reads
/// a line that the worker is about to write, and is better off with pauses (75 ns with them, 91
/// without, bare lines).
inline constexpr std::uint32_t kEagerPolls = 96;

/// Polls between two looks at the clock, the deadline and the stop flag: reading the clock costs as
/// much as ten polls. There is a pause between polls: it leaves the core to its sibling thread.
inline constexpr std::uint32_t kPollsPerClock = 32;

/// Staging memory for each slot that a client thread fills from plain memory; larger payloads take
/// more from the arena when they first come.
inline constexpr std::size_t kStagingBytes = 64u << 10;

}  // namespace sublet::transport::tuning
