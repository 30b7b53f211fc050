#pragma once

// PROTOCOL  The memory that a client and a worker of one node share, one per channel: a memfd made
//           by the executor. Calls are numbered (31 bits, from 1, wrapping). A call that is
//           submitted while none is under way uses the slot of the call before it, any other the
//           slot after that, of a ring of N; the first call uses slot 0. The client writes the
//           request's body into the slot's line, then its number with kRequestMark; the worker
//           looks for the number it expects next in both slots that it can be in, copies the
//           line, and answers in the same line: the body, then the number without the mark.
//           Payloads up to kInlineBytes travel in the line; others lie in the arena, and the line
//           holds their offsets.
//
// STATES    A slot: free -> submitted (request sequence written) -> done (reply sequence written)
//           -> free (the client has collected the reply; known to the client alone).
//
// LIMITS    Slots: a power of two up to wire::kMaxSlots. Error text: kErrorBytes.
//
// Everything here is hostile: the other side may write anything at any time. Each side copies a
// line once and checks the copy.

#include <transport/common/call_lines.hpp>
#include <transport/contract.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sublet::transport::shm {

/// Two lines are fetched together on current processors, so what the two sides write never shares
/// such a pair. A call costs less when each slot has a pair of its own (measured: 0.70-0.87 of a
/// flag ping-pong with 128 bytes, 0.88-0.98 with 64).
inline constexpr std::size_t kPair = 128;

inline constexpr std::size_t kErrorBytes = 512;

/// Set in the sequence word of a request. A slot may lie unused for any number of calls: what it
/// holds then, a reply or the zeroes of the beginning, is never taken for a request. And a client
/// looks for a reply only where it has written the request.
inline constexpr std::uint32_t kRequestMark = 0x8000'0000;

[[nodiscard]] constexpr std::uint32_t sequence_after(std::uint32_t sequence) noexcept {
  return (sequence + 1) & ~kRequestMark;
}

/// The sequence of each line is written last (release) and pairs with an acquire of the other
/// side's poll. Request and reply share one line: what has read a line is about to write it, and
/// current processors notice and pass its ownership along with the data, which saves a transfer
/// each way (measured: 0.60 to 0.67 of a flag ping-pong where two lines take 0.73 to 0.80).
struct alignas(kPair) Slot {
  union {
    RequestLine request;
    ReplyLine reply;
  };
  std::uint64_t started;  ///< Of the reply. Only read with kTraced; written before the sequence.
  std::uint64_t ended;
};
static_assert(sizeof(Slot) == kPair);

/// One side's wish to be woken: 1 while it sleeps or is about to. Written by its owner; the other
/// side sets it back to 0 when it wakes it. See base/asymmetric_fence.hpp for how neither misses
/// the other.
struct alignas(kPair) SleepWord {
  std::uint32_t sleeping;
};

struct ErrorText {
  std::array<char, kErrorBytes> text;
};

/// Where the parts lie in the channel's memory.
struct Layout {
  std::uint32_t slots;

  [[nodiscard]] std::size_t worker_sleep() const noexcept { return 0; }
  [[nodiscard]] std::size_t client_sleep() const noexcept { return kPair; }
  [[nodiscard]] std::size_t ring() const noexcept { return 2 * kPair; }
  [[nodiscard]] std::size_t errors() const noexcept { return ring() + slots * sizeof(Slot); }
  [[nodiscard]] std::size_t size() const noexcept {
    constexpr std::size_t kPage = 4096;
    return (errors() + slots * sizeof(ErrorText) + kPage - 1) / kPage * kPage;
  }
};

template <class T>
[[nodiscard]] T* at(std::byte* base, std::size_t offset) noexcept {
  return reinterpret_cast<T*>(base + offset);
}

[[nodiscard]] inline std::uint32_t load_acquire(std::uint32_t& word) noexcept {
  return std::atomic_ref<std::uint32_t>(word).load(std::memory_order_acquire);
}

inline void store_release(std::uint32_t& word, std::uint32_t value) noexcept {
  std::atomic_ref<std::uint32_t>(word).store(value, std::memory_order_release);
}

}  // namespace sublet::transport::shm
