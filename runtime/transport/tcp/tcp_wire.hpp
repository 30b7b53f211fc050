#pragma once

// clang-format off
// PROTOCOL  One TCP stream per channel. The client sends one Hello, the executor answers with one
//           Answer, and closes when it refuses. From then on the client sends requests, each a
//           RequestHeader and its input; the worker answers each in turn, with a ReplyHeader and
//           the output (status kOk) or the text of the error (any other status). A payload of more
//           than kPaddedAbove bytes starts kPaddedHeader bytes after the start of its header,
//           others right behind it. Sequence numbers count from 1 and wrap; they are redundant on a
//           stream, and so tell when one side has lost its place. All numbers are little-endian.
//
// STATES    Connection: accepted -> greeted -> welcomed, or refused and closed. Then, on each side
//           and in each direction: between messages -> inside of one.
//
// LIMITS    Input: the client's arena (Hello), or kInlineBytes. Output: out_capacity, at most the
//           same. Error text: kErrorBytes.
//
// Everything here is hostile until checked. A stream that breaks the rules above has no place to go
// on from: whoever notices ends it.
// clang-format on

#include <transport/common/greeting.hpp>

#include <cstddef>
#include <cstdint>

namespace sublet::transport::tcp {

inline constexpr std::uint32_t kMagic = 0x4854'4c53;  // "SLTH"
inline constexpr std::uint32_t kVersion = 3;

inline constexpr std::size_t kErrorBytes = 512;

/// It says no more than every Hello does.
using Hello = Greeting;

/// The kernel copies large payloads through its own buffers, and is faster when they start on a
/// line's boundary there (64 KiB there and back: 1.1 instead of 1.2 of what a bare socket takes).
inline constexpr std::size_t kPaddedAbove = 4096;
inline constexpr std::size_t kPaddedHeader = 64;

/// Where a payload of `size` bytes starts.
template <class Header>
[[nodiscard]] constexpr std::size_t header_span(std::uint64_t size) noexcept {
  return size > kPaddedAbove ? kPaddedHeader : sizeof(Header);
}

enum RequestFlags : std::uint16_t {
  kTraced = 1,
  kKnownFlags = kTraced,
};

struct RequestHeader {
  std::uint32_t sequence;
  std::uint16_t function;
  std::uint16_t flags;
  std::uint64_t in_size;  ///< This many bytes follow.
  std::uint64_t out_capacity;
};
static_assert(sizeof(RequestHeader) == 24);

struct ReplyHeader {
  std::uint32_t sequence;
  std::uint8_t status;
  std::uint8_t unused;
  std::uint16_t error_size;  ///< This many bytes follow when status is not kOk; else 0.
  std::uint64_t size;        ///< This many bytes follow when status is kOk.
  std::uint64_t exec_ns;
};
static_assert(sizeof(ReplyHeader) == 24);

}  // namespace sublet::transport::tcp
