#pragma once

// HOT-PATH BUDGET  One comparison for a reply that is kOk. No allocation, lock, system call or
// virtual call.

#include <transport/contract.hpp>

#include <cstdint>
#include <string_view>

namespace sublet::transport {

inline constexpr std::string_view kOverlongReply =
    "the executor's reply is longer than the output it was given";

/// Turns the reply into kLost with kOverlongReply.
void settle_overlong(ReplyView& reply) noexcept;

/// The client's check of a reply that says kOk with `reply.size` bytes. False, and `reply` is lost,
/// when they do not fit: an honest worker says kOutputTooLarge.
[[nodiscard, gnu::always_inline]] inline bool fits(ReplyView& reply,
                                                   std::uint64_t out_capacity) noexcept {
  if (reply.size <= out_capacity) [[likely]]
    return true;
  settle_overlong(reply);
  return false;
}

/// True for what a call can fail with: neither success, nor what says that a call goes on, nor an
/// unknown number.
[[nodiscard]] bool is_failure(Status status) noexcept;

/// The client's check of a reply that says anything but kOk; `error` is what the peer wrote of it.
void settle_failure(ReplyView& reply, std::string_view error) noexcept;

}  // namespace sublet::transport
