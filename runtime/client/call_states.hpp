#pragma once

// STATES of an invocation at its client, and what moves it from one to the next.
//
// clang-format off
//
//   event        | idle   | queued  | submitted | dying  | ended
//   -------------+--------+---------+-----------+--------+-------
//   started      | queued |    -    |     -     |   -    |   -     the application calls
//   accepted     |   -    | submitt.|     -     |   -    |   -     a channel took it into a slot
//   refused      |   -    | ended   |     -     |   -    |   -     no channel ever will
//   replied      |   -    |    -    |   ended   |   -    |   -     its own reply came; its executor lives
//   executor died|   -    |    -    |   dying   | dying  |   -     its reply, or its channel, says so
//   settled      |   -    |    -    |     -     | ended  |   -     the executor's process is gone
//   run again    |   -    |    -    |     -     | queued |   -     ... and it was never started, or may
//                |        |         |           |        |         run twice
//   collected    |   -    |    -    |     -     |   -    | idle    the application has its end
//
// clang-format on
//
// A call in state submitted belongs to one slot of one channel of one worker link (its binding):
// the link ends it before it takes another channel. In no other state can a reply reach it. A dying
// call waits until nothing can write to its memory any more: until then neither its output nor its
// staging is anybody else's. A queued call has never been seen by an executor, or by none that
// lives, so it may wait for any.

#include <array>
#include <cstddef>
#include <cstdint>

namespace sublet::client {

enum class CallState : std::uint8_t { kIdle, kQueued, kSubmitted, kDying, kEnded, kImpossible };

enum class CallEvent : std::uint8_t {
  kStarted,
  kAccepted,
  kRefused,
  kReplied,
  kExecutorDied,
  kSettled,
  kRunAgain,
  kCollected,
};

inline constexpr std::size_t kCallStates = 5;  ///< Without kImpossible.
inline constexpr std::size_t kCallEvents = 8;

namespace detail {

inline constexpr auto kNo = CallState::kImpossible;

inline constexpr std::array<std::array<CallState, kCallStates>, kCallEvents> kCallTable{{
    // idle, queued, submitted, dying, ended
    {CallState::kQueued, kNo, kNo, kNo, kNo},
    {kNo, CallState::kSubmitted, kNo, kNo, kNo},
    {kNo, CallState::kEnded, kNo, kNo, kNo},
    {kNo, kNo, CallState::kEnded, kNo, kNo},
    {kNo, kNo, CallState::kDying, CallState::kDying, kNo},
    {kNo, kNo, kNo, CallState::kEnded, kNo},
    {kNo, kNo, kNo, CallState::kQueued, kNo},
    {kNo, kNo, kNo, kNo, CallState::kIdle},
}};

}  // namespace detail

/// The state after `event`; kImpossible where the table has none.
[[nodiscard]] constexpr CallState next(CallState state, CallEvent event) noexcept {
  return detail::kCallTable[static_cast<std::size_t>(event)][static_cast<std::size_t>(state)];
}

}  // namespace sublet::client
