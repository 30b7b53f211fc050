#pragma once

// clang-format off
// PROTOCOL  One RC queue pair joins a client and a worker. Calls have numbers of 32 bits, from 1,
//           wrapping. Each uses the slot after that of the call before it, on both sides, or, when
//           no call is under way, the same one again: lone calls stay in the same memory.
//
//           A request is ONE write with immediate data into a slot of the worker's ring. The
//           immediate word says what a small call needs: function, room for an inline output, and
//           what was written. A slot is
//
//               [16, 40)   InputPlace   where the client's input lies, when it is too large to be sent
//               [40, 64)   OutputPlace  where the output goes, when it does not fit into the reply
//               [64, ...)  the input, up to Welcome::slot_payload bytes
//
//           and what is written is one piece of it: it starts with the first part that the call
//           needs and ends with the last. The size of the input is the length of the write. An
//           OutputPlace equal to the last one sent is not sent again. So 8 bytes travel as 8 bytes,
//           and 4 KiB as 4 KiB: not one packet more than the bare exchange takes.
//
//           A worker reads an input that has an InputPlace out of the client's arena (RDMA READ):
//           its memory then does not grow with the largest input, and it decides itself whether it
//           wants the size. That takes two trips more than an input that is sent.
//
//           A reply is a write with immediate data too: of the output, straight to its OutputPlace
//           or into the client's reply slot when it is inline. The immediate word has the slot
//           and the time the function took; the size is the length of the write. Failures, and
//           outputs longer than one message, write a ReplyLine into the reply slot instead.
//
// STATES    A slot: free -> unsent -> under way -> replied -> free (the client has collected the
//           reply; known to the client alone).
//
// LIMITS    Slots: a power of two up to wire::kMaxSlots. Error text: kErrorBytes. One message:
//           kMessageBytes.
//
// Everything here is hostile: the other side may write anything at any time. Each side copies what
// it needs once and checks the copy.
// clang-format on

#include <transport/common/greeting.hpp>
#include <transport/contract.hpp>
#include <wire/limits.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace sublet::transport::verbs {

inline constexpr std::uint32_t kMagic = 0x5342'5642;
inline constexpr std::uint32_t kVersion = 4;

/// The bounds of Welcome::slot_payload, the length up to which inputs travel with their request.
/// The worker's slots are pinned memory, so it is what the executor can afford. A longer input
/// costs one more trip, which is short beside its own time on the network (64 KiB with such a
/// trip: 1.5 times the bare exchange).
inline constexpr std::size_t kLeastSlotPayload = 4096;
inline constexpr std::size_t kMostSlotPayload = std::size_t{64} << 10;

/// What the slots of one worker take together.
inline constexpr std::size_t kSlotPayloads = std::size_t{1} << 20;
[[nodiscard]] constexpr std::size_t slot_payload_for(std::size_t slots) noexcept {
  return std::clamp(std::bit_floor(kSlotPayloads / slots), kLeastSlotPayload, kMostSlotPayload);
}

/// Outputs up to this length are written by the function where they are sent from.
inline constexpr std::size_t kSlotOutput = 4096;

/// The longest single RDMA operation; the architecture allows 2^31 bytes.
inline constexpr std::uint64_t kMessageBytes = std::uint64_t{1} << 30;

inline constexpr std::size_t kErrorBytes = 512;

/// Where a large input lies in the client's arena.
struct InputPlace {
  std::uint64_t address;
  std::uint64_t size;
  std::uint32_t rkey;
  std::uint32_t unused;
};
static_assert(sizeof(InputPlace) == 24);

/// Where an output goes in the client's arena.
struct OutputPlace {
  std::uint64_t address;
  std::uint64_t capacity;
  std::uint32_t rkey;
  std::uint32_t unused;
  friend bool operator==(const OutputPlace&, const OutputPlace&) = default;
};
static_assert(sizeof(OutputPlace) == 24);

inline constexpr std::size_t kInputPlaceAt = 16;
inline constexpr std::size_t kOutputPlaceAt = 40;
inline constexpr std::size_t kPayloadAt = 64;

/// From one slot to the next: they do not share the pairs of lines that are fetched together.
[[nodiscard]] constexpr std::size_t request_stride(std::size_t slot_payload) noexcept {
  return (kPayloadAt + slot_payload + 127) / 128 * 128;
}

/// The client's copy of a request's start: the places and an inline input.
inline constexpr std::size_t kStagingStride = 128;
static_assert(kStagingStride >= kPayloadAt + kInlineBytes);

/// What a reply says that is more than an output.
struct ReplyLine {
  std::uint8_t status;
  std::uint8_t unused[5];
  std::uint16_t error_size;
  std::uint64_t size;
  std::uint64_t exec_ns;
  std::array<char, kErrorBytes> error;
};
static_assert(sizeof(ReplyLine) == 24 + kErrorBytes);
inline constexpr std::size_t kReplyLineHead = 24;

/// A reply slot: an inline output, then the line.
inline constexpr std::size_t kReplyLineAt = 64;
inline constexpr std::size_t kReplyStride = 640;
static_assert(kReplyStride >= kReplyLineAt + sizeof(ReplyLine) && kReplyStride % 128 == 0);

/// The immediate word of a request.
struct RequestWord {
  std::uint32_t function;  ///< 16 bits.
  std::uint32_t output;    ///< 6 bits: room for an inline output, or one of the two below.
  bool traced;
  bool has_input_place;
  std::uint32_t sequence;  ///< The lowest 7 bits of the call's number, for safety.
  bool same_slot = false;  ///< As the call before it.

  [[nodiscard]] constexpr std::uint32_t encode() const noexcept {
    return function | output << 16 | std::uint32_t{traced} << 22 |
           std::uint32_t{has_input_place} << 23 | std::uint32_t{same_slot} << 24 | sequence << 25;
  }
  [[nodiscard]] static constexpr RequestWord decode(std::uint32_t word) noexcept {
    return {word & 0xffff,         word >> 16 & 0x3f, (word >> 22 & 1) != 0,
            (word >> 23 & 1) != 0, word >> 25,        (word >> 24 & 1) != 0};
  }
};
inline constexpr std::uint32_t kOutputAsBefore = 62;
inline constexpr std::uint32_t kOutputPlaced = 63;
inline constexpr std::uint32_t kSequenceBits = 0x7f;
static_assert(kInlineBytes < kOutputAsBefore);

/// A time in 21 bits: 16 significant bits and a shift. Exact up to 65 µs, then to 3 in 100,000.
[[nodiscard]] constexpr std::uint32_t pack_time(std::uint64_t ns) noexcept {
  const int shift = std::max(0, static_cast<int>(std::bit_width(ns)) - 16);
  if (shift > 31) return (31u << 16) | 0xffffu;
  return static_cast<std::uint32_t>(shift) << 16 | static_cast<std::uint32_t>(ns >> shift);
}
[[nodiscard]] constexpr std::uint64_t unpack_time(std::uint32_t packed) noexcept {
  return static_cast<std::uint64_t>(packed & 0xffff) << (packed >> 16 & 0x1f);
}

/// The immediate word of a reply.
struct ReplyWord {
  std::uint32_t slot;  ///< 10 bits.
  bool has_line;
  std::uint32_t packed_time;  ///< 21 bits; without a line.

  [[nodiscard]] static constexpr std::uint32_t encode(std::uint32_t slot, bool has_line,
                                                      std::uint32_t packed_time) noexcept {
    return packed_time | slot << 21 | std::uint32_t{has_line} << 31;
  }
  [[nodiscard]] static constexpr ReplyWord decode(std::uint32_t word) noexcept {
    return {word >> 21 & 0x3ff, word >> 31 != 0, word & 0x1f'ffff};
  }
};
static_assert(wire::kMaxSlots <= 1024);

// ---- what is said while a queue pair is set up, in the connection manager's private data ----

/// From the client, with its request to connect. An RDMA_PS_TCP request has room for 56 bytes.
struct Hello : Greeting {
  std::uint64_t replies_address;  ///< Of reply slot 0.
  std::uint32_t replies_rkey;
  std::uint32_t unused;
};
static_assert(sizeof(Hello) == 56 && std::is_trivially_copyable_v<Hello>);

/// From the executor, when it accepts.
struct Welcome {
  std::uint32_t magic;  ///< kAnswerMagic.
  std::uint32_t requests_rkey;
  std::uint64_t requests_address;  ///< Of request slot 0.
  std::uint32_t slot_payload;      ///< From kLeastSlotPayload to kMostSlotPayload.
  std::uint32_t unused;
  Proof proof;  ///< The executor's.

  [[nodiscard]] constexpr bool is_sane() const noexcept {
    return slot_payload >= kLeastSlotPayload && slot_payload <= kMostSlotPayload;
  }
};
static_assert(sizeof(Welcome) == 32);

/// From the executor, when it does not. A rejection has room for 148 bytes.
using Rejection = AnswerOf<135>;
static_assert(sizeof(Rejection) == 148);

// ---- memory and queues ----

inline constexpr std::size_t kPage = 4096;
[[nodiscard]] constexpr std::size_t whole_pages(std::size_t size) noexcept {
  return (size + kPage - 1) / kPage * kPage;
}

/// The client's memory of one channel: reply slots, then staging for requests.
struct ClientLayout {
  std::size_t slots;
  [[nodiscard]] constexpr std::size_t replies() const noexcept { return 0; }
  [[nodiscard]] constexpr std::size_t staging() const noexcept { return slots * kReplyStride; }
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    return whole_pages(staging() + slots * kStagingStride);
  }
};

/// The worker's memory of one channel: the requests' ring, which alone the client may write;
/// outputs up to kSlotOutput; staging for replies.
struct ServerLayout {
  std::size_t slots;
  std::size_t slot_payload;
  [[nodiscard]] constexpr std::size_t requests() const noexcept { return 0; }
  [[nodiscard]] constexpr std::size_t requests_size() const noexcept {
    return slots * request_stride(slot_payload);
  }
  [[nodiscard]] constexpr std::size_t outputs() const noexcept {
    return whole_pages(requests_size());
  }
  [[nodiscard]] constexpr std::size_t staging() const noexcept {
    return outputs() + slots * kSlotOutput;
  }
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    return whole_pages(staging() + slots * kReplyStride);
  }
};

/// How the queues of one queue pair are sized and filled.
struct QueueDepths {
  std::uint32_t receives;        ///< Posted at any time, less a batch: at least one for each slot.
  std::uint32_t receives_batch;  ///< Posted together, once as many have been used.
  std::uint32_t sends;
  std::uint32_t signal_every;  ///< One send in this many is signalled.

  [[nodiscard]] static constexpr QueueDepths of(std::uint32_t slots) noexcept {
    return {2 * slots, std::max(slots / 2, 1u), 2 * slots + 16, std::max(slots / 2, 1u)};
  }
  /// The most completions that can be there at once, when all fail.
  [[nodiscard]] constexpr std::uint32_t completions() const noexcept { return receives + sends; }
};

}  // namespace sublet::transport::verbs
