#pragma once

// HOT-PATH BUDGET  The cache lines that carry a request and its reply where both sides share the
// layout of an arena (shm, fabric): filled and checked with at most kInlineBytes copied. No
// allocation, lock, system call or virtual call.
//
// Everything in a line is hostile: the other side may write anything at any time. Each side copies
// a line once and checks the copy.

#include <transport/common/inline_copy.hpp>
#include <transport/common/reply_check.hpp>
#include <transport/common/request_check.hpp>
#include <transport/contract.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sublet::transport {

/// Flags of a RequestLine. A transport may add its own from kFirstOwnFlag on.
enum RequestFlags : std::uint16_t {
  kInputInline = 1,
  kOutputInline = 2,
  kTraced = 4,
  kFirstOwnFlag = 8,
};

struct alignas(64) RequestLine {
  std::uint32_t sequence;
  std::uint16_t function;
  std::uint16_t flags;
  std::uint64_t in_size;
  std::uint64_t out_capacity;
  /// kInputInline: the input; else its arena offset in word 0. Without kOutputInline word 4 is the
  /// output's arena offset.
  std::array<std::byte, kInlineBytes> body;
};
static_assert(sizeof(RequestLine) == 64);

inline constexpr std::size_t kInputOffsetAt = 0;
inline constexpr std::size_t kOutputOffsetAt = kInlineBytesBesideOffset;

struct alignas(64) ReplyLine {
  std::uint32_t sequence;
  std::uint8_t status;
  std::uint8_t flags;  ///< Of the transport.
  std::uint16_t error_size;
  std::uint64_t size;
  std::uint64_t exec_ns;
  std::array<std::byte, kInlineBytes> body;
};
static_assert(sizeof(ReplyLine) == 64);

/// Reads what the other side may change at any time. Volatile: the compiler must not read it once
/// more after it has been checked.
template <class T>
[[nodiscard]] T load_once(const T& value) noexcept {
  return *static_cast<const volatile T*>(&value);
}

/// Fills everything but the sequence.
[[gnu::always_inline]] inline void fill_line(RequestLine& line, const Request& request,
                                             const Placement& placement) noexcept {
  std::uint16_t flags = request.traced ? std::uint16_t{kTraced} : std::uint16_t{0};
  if (placement.out_is_inline) {
    flags |= kOutputInline;
  } else {
    std::memcpy(line.body.data() + kOutputOffsetAt, &placement.out_offset, sizeof(std::uint64_t));
  }
  if (placement.in_is_inline) {
    flags |= kInputInline;
    if (request.in_size != 0) copy_inline(line.body.data(), request.in, request.in_size);
  } else {
    std::memcpy(line.body.data() + kInputOffsetAt, &placement.in_offset, sizeof(std::uint64_t));
  }
  line.function = request.function;
  line.flags = flags;
  line.in_size = request.in_size;
  line.out_capacity = request.out_capacity;
}

/// Where the offset at `where` of a line's body points; null when not all of the `size` bytes there
/// lie in `memory`.
[[nodiscard]] inline std::byte* payload_of(const RequestLine& line, std::size_t where,
                                           std::uint64_t size, const ArenaRange& memory) noexcept {
  std::uint64_t offset;
  std::memcpy(&offset, line.body.data() + where, sizeof(offset));
  return memory.contains(offset, size) ? memory.start + offset : nullptr;
}

/// The worker's check of a request. `line` is a copy that the client cannot change, and stays where
/// it is until the invocation ends: an inline input is used there.
[[gnu::always_inline]] inline void check_line(const RequestLine& line, std::uint32_t sequence,
                                              const ArenaRange& memory, InlineScratch& scratch,
                                              Invocation& invocation) noexcept {
  invocation.sequence = sequence;
  invocation.function = line.function;
  invocation.in_size = line.in_size;
  invocation.out_capacity = line.out_capacity;
  invocation.traced = (line.flags & kTraced) != 0;
  invocation.out_is_inline = (line.flags & kOutputInline) != 0;
  invocation.verdict = Status::kOk;
  bool good = true;
  if (invocation.out_is_inline) {
    invocation.out = scratch.data();
    good = line.out_capacity <= kInlineBytes;
  } else {
    invocation.out = payload_of(line, kOutputOffsetAt, line.out_capacity, memory);
    good = invocation.out != nullptr;
  }
  if ((line.flags & kInputInline) != 0) {
    invocation.in = line.body.data();
    good = good && line.in_size <= inline_room(invocation.out_is_inline);
  } else {
    invocation.in = payload_of(line, kInputOffsetAt, line.in_size, memory);
    good = good && invocation.in != nullptr;
  }
  if (!good) [[unlikely]]
    refuse(invocation);
}

/// The client's check of a reply to a call with this output; what the line carries is copied there.
/// False for a call that has failed: settle_failure() comes next.
[[nodiscard, gnu::always_inline]] inline bool take_line(const ReplyLine& line, void* out,
                                                        std::uint64_t out_capacity,
                                                        ReplyView& reply) noexcept {
  const std::uint64_t size = load_once(line.size);
  reply.status = static_cast<Status>(load_once(line.status));
  reply.size = size;
  reply.exec_ns = load_once(line.exec_ns);
  reply.error = {};
  if (reply.status != Status::kOk) [[unlikely]]
    return false;
  if (fits(reply, out_capacity) && out_capacity <= kInlineBytes && size != 0) {
    copy_inline(out, line.body.data(), size);
  }
  return true;
}

}  // namespace sublet::transport
