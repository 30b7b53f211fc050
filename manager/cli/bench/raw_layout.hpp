#pragma once

// What the two ends of the raw exchange share.
//
// PROTOCOL  The client puts a payload beside the request flag and stores the next number into the
//           flag; the server, which waits for the flag to change, copies the payload beside the
//           reply flag and stores the same number there; the client waits for it and copies the
//           payload out. Up to 8 bytes the flag's own word is the payload: the flag ping-pong.
// STATES    The server sleeps on `command` and uses no time of its core. begin() sets kind and
// size,
//           counts `command` up and wakes it; it sets `state` to the command's number and serves
//           exchanges until the flag reads kStop; then it sets `state` to kAsleep and sleeps again.
// LIMITS    Payloads up to the size the area was made for. The client gives up on a server that
//           does not answer for kRawExchangeLimit; the server ends with the client
//           (PR_SET_PDEATHSIG).

#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace sublet::cli::bench {

using namespace std::chrono_literals;

/// What the raw server does when it is awake.
enum class RawKind : std::uint32_t {
  kLine,  ///< One word, written by both in turn: the time of a bounced cache line.
  kHot,   ///< The raw exchange, both sides spinning.
  kWarm,  ///< The raw exchange, the server sleeping on a futex between calls.
};

/// Adjacent lines are fetched in pairs, so that a word is alone only in 128 bytes.
inline constexpr std::size_t kAlone = 128;

struct alignas(kAlone) RawFlag {
  std::atomic<std::uint64_t> value;
};

struct RawControl {
  alignas(kAlone) std::atomic<std::uint32_t> command;
  RawKind kind;
  std::uint64_t size;
  alignas(kAlone) std::atomic<std::uint32_t> state;
  alignas(kAlone) RawFlag line;
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::endian::native == std::endian::little,
              "the futex of the warm exchange is the low half of the flag");

inline constexpr std::uint32_t kAsleep = 0;
inline constexpr std::uint64_t kStop = ~std::uint64_t{0};

/// Payloads that travel in the flag itself.
inline constexpr std::size_t kFlagBytes = sizeof(std::uint64_t);

/// Longer than any scheduler keeps a runnable process waiting on a machine worth measuring.
inline constexpr auto kRawExchangeLimit = 10s;

}  // namespace sublet::cli::bench
