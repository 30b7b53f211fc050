#pragma once

// HOT-PATH BUDGET  The checks of the contract's rules for a request: two comparisons for one whose
// payloads travel in its line, one range check for each payload in the arena. No allocation, lock,
// system call or virtual call.

#include <transport/common/arena_range.hpp>
#include <transport/contract.hpp>

#include <cstdint>

namespace sublet::transport {

/// Where the payloads of a request lie.
struct Placement {
  bool in_is_inline = false;
  bool out_is_inline = false;
  std::uint64_t in_offset = 0;   ///< In the arena; unless in_is_inline.
  std::uint64_t out_offset = 0;  ///< In the arena; unless out_is_inline.
};

/// The longest input that travels in a request's line.
[[nodiscard, gnu::always_inline]] inline std::uint64_t inline_room(bool out_is_inline) noexcept {
  return out_is_inline ? kInlineBytes : kInlineBytesBesideOffset;
}

/// The client's check of a request. False when it breaks the rules: it must be refused with
/// kInvalid.
[[nodiscard, gnu::always_inline]] inline bool place(const Request& request, const ArenaRange& arena,
                                                    Placement& placement) noexcept {
  placement.out_is_inline = request.out_capacity <= kInlineBytes;
  if (!placement.out_is_inline &&
      !arena.offset_of(request.out, request.out_capacity, placement.out_offset)) {
    return false;
  }
  placement.in_is_inline = request.in_size <= inline_room(placement.out_is_inline);
  return placement.in_is_inline ||
         arena.offset_of(request.in, request.in_size, placement.in_offset);
}

/// Turns an invocation into one that the worker refuses. It names no memory, so that nobody can use
/// any by mistake, and nothing is copied to its reply.
inline void refuse(Invocation& invocation) noexcept {
  invocation.in = nullptr;
  invocation.out = nullptr;
  invocation.out_is_inline = false;
  invocation.verdict = Status::kInvalid;
}

}  // namespace sublet::transport
