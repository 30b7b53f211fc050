#pragma once

#include <sublet/export.hpp>

#include <cstdint>

namespace sublet {

/// How an invocation, or one step of it, ended. One byte on the wire; the values are part of the
/// data-plane protocol and never change their meaning.
enum class Status : std::uint8_t {
  kOk = 0,
  kAgain = 1,            ///< Not done yet, or no free slot: back-pressure, not a failure.
  kInvalid = 2,          ///< The request is malformed, for instance memory outside the arena.
  kUnknownFunction = 3,  ///< The executor has no function with this number.
  kOutputTooLarge = 4,   ///< The function produced more bytes than the output buffer holds.
  kFunctionError = 5,    ///< A typed function reported an error of its own.
  kException = 6,        ///< The function let an exception escape.
  kCrashed = 7,          ///< The function raised a fatal signal; its executor was replaced.
  kExited = 8,           ///< The function ended its process (exit, quick_exit).
  kTimedOut = 9,         ///< The function ran past its deadline; its executor was replaced.
  kLost = 10,            ///< The executor or the connection vanished while the call was in flight.
  kClosed = 11,          ///< The channel or the lease had ended before the call was submitted.
  kDeadline = 12,        ///< The caller's own wait ended first; the call may still complete.
  kDenied = 13,          ///< The peer refused the connection, for instance a wrong token.
};

/// The name of a status as it appears in logs, for instance "output too large". Never null.
[[nodiscard]] SUBLET_API const char* to_string(Status status) noexcept;

}  // namespace sublet
