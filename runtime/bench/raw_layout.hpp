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
#include <cstring>
#include <vector>

namespace sublet::bench {

using namespace std::chrono_literals;

/// What the raw server does when it is awake.
enum class RawKind : std::uint32_t {
  kLine,    ///< One word, written by both in turn: the time of a bounced cache line.
  kHot,     ///< The raw exchange, both sides spinning.
  kWarm,    ///< The raw exchange, the server sleeping on a futex between calls.
  kStream,  ///< Payloads one way, several under way, both sides spinning.
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
  std::atomic<std::uint64_t> window;  ///< Places of a stream's ring.
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

// ---- bare streams ----

/// Messages that any bare stream has under way at most, each in a place of its own.
inline constexpr std::size_t kStreamWindow = 16;

/// From one place to the next.
[[nodiscard]] inline constexpr std::size_t stream_stride(std::size_t size) {
  return (size + kAlone - 1) / kAlone * kAlone;
}

/// What is looked at of a payload that has arrived: its first and its last word.
[[nodiscard]] inline std::uint64_t ends_of(const std::byte* payload, std::size_t size) noexcept {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  const std::size_t word = size < sizeof(first) ? size : sizeof(first);
  std::memcpy(&first, payload, word);
  std::memcpy(&last, payload + size - word, word);
  return first + last;
}

/// Bytes of which ends_of() is not 0, others for each `number`.
inline void fill_stream_payload(std::byte* payload, std::size_t size, std::size_t number) noexcept {
  for (std::size_t i = 0; i < size; ++i) {
    payload[i] = static_cast<std::byte>(i * 37 + i / 256 + number + 1);
  }
}

/// The private memory that a stream over shared memory copies from. It begins half a page off from
/// where its destination does: some processors copy several times slower between places that lie
/// alike in their pages, and which do would be left to chance, for each side by itself.
class StreamSource {
 public:
  StreamSource() = default;
  StreamSource(std::size_t size, const std::byte* destination) : memory_(size + kPage) {
    const auto wanted = reinterpret_cast<std::uintptr_t>(destination) + kPage / 2;
    skipped_ = (wanted - reinterpret_cast<std::uintptr_t>(memory_.data())) % kPage;
    fill_stream_payload(memory_.data() + skipped_, size, 0);
    size_ = size;
  }
  [[nodiscard]] const std::byte* data() const noexcept { return memory_.data() + skipped_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  static constexpr std::size_t kPage = 4096;
  std::vector<std::byte> memory_;
  std::size_t skipped_ = 0;
  std::size_t size_ = 0;
};

}  // namespace sublet::bench
