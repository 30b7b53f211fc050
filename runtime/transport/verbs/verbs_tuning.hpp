#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

// The tunables of the verbs transport, each with the reason for its value.
namespace sublet::transport::verbs {

using namespace std::chrono_literals;

/// How many times a message that is not acknowledged in time is sent again.
inline constexpr std::uint8_t kRetries = 7;

/// The time of one try, as a queue pair takes it: 4.096 µs * 2^n. Devices may take up to four times
/// as long. The tries share half of `peer_timeout`: a cut link is noticed after a quarter of that
/// to twice that (5 s: 2 to 9 s), and a switch that converges anew within a second costs no calls.
[[nodiscard]] constexpr std::uint8_t ack_timeout_for(
    std::chrono::milliseconds peer_timeout) noexcept {
  constexpr std::int64_t kShortest = 10;
  constexpr std::int64_t kLongest = 31;
  constexpr std::int64_t kUnitNs = 4096;
  const std::int64_t ns = std::chrono::nanoseconds(peer_timeout).count();
  const auto units = static_cast<std::uint64_t>(ns < 0 ? 0 : ns / 2 / (kRetries + 1) / kUnitNs);
  const std::int64_t exponent = static_cast<std::int64_t>(std::bit_width(units)) - 1;
  return static_cast<std::uint8_t>(std::clamp(exponent, kShortest, kLongest));
}
static_assert(ack_timeout_for(5s) == 16);

/// How many times a client that sends more than its slots allow is told to wait before it loses its
/// queue pair. For all others the receives are posted in time.
inline constexpr std::uint8_t kReceiverNotReadyRetries = 3;

/// RDMA reads under way on one queue pair: large inputs come one after the other, in pieces.
inline constexpr std::uint8_t kReadsUnderWay = 4;

/// What queue pairs ask for, if the device grants it: covers every request and reply of a
/// small call. More makes each entry of the send queue larger, and copying it no cheaper than
/// fetching it.
inline constexpr std::uint32_t kInlineWanted = 256;

/// How often a client that waits for a reply checks, with an empty write, that its peer can still
/// be reached.
inline constexpr auto kKeepAlive = 1s;

/// The first part of an arena that is registered; it is doubled when a payload lies beyond. Small
/// enough for a low limit on locked memory, large enough for the staging memory of some slots.
inline constexpr std::size_t kFirstRegistration = std::size_t{2} << 20;

/// The first size of a worker's buffer for large payloads.
inline constexpr std::size_t kFirstBulk = std::size_t{256} << 10;

/// How many channels like its first a client thread's completion queue has room for.
inline constexpr std::uint32_t kChannelsPerQueue = 64;
inline constexpr std::uint32_t kMaxCompletions = 16384;

/// Polls of a waiting client before it looks at the clock: a small call ends within these on
/// hardware.
inline constexpr std::uint32_t kPollsBeforeClock = 64;

/// How long a client or worker spins (yielding) before it sleeps while cores are short: about what
/// being woken costs (see tuning::kContendedSpin), which through a completion channel is an
/// interrupt, an event and two system calls. An exchange of 4 KiB over Soft-RoCE on emulated
/// processors takes 200 µs: a worker that spins for less has to be woken for every call (1.97 times
/// the bare exchange).
inline constexpr auto kContendedSpin = 500us;

/// Completions taken off a queue at a time.
inline constexpr int kCompletionsPerPoll = 8;

/// How many events of a completion channel are acknowledged together: doing it takes a lock.
inline constexpr unsigned kEventsPerAck = 64;

/// Connection requests that wait for the executor's main thread.
inline constexpr int kBacklog = 256;

}  // namespace sublet::transport::verbs
