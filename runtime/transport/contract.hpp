#pragma once

// THE DATA-PLANE CONTRACT: what every transport provides, checked by test/conformance.
//
// A channel joins one client thread to one worker thread and has N slots (a power of two); a slot
// carries one invocation in flight. Calls run in the order they were submitted; their replies may
// be collected in any order. submit returns kAgain while the call of N calls ago is under way or
// its reply has not been collected.
//
// There are no virtual calls: transports meet the two concepts below, set-up erases the type once
// (any_channel.hpp), and the hot path is a switch over the transports of this build.
//
// HOT-PATH BUDGET  submit, poll and the server's counterparts: no allocation, lock, system call,
// log or virtual call. Waking a sleeping peer, errors and peer death are off the hot path.
//
// WHO WAITS  No call of a client waits for its peer, only wait() does, and until its deadline. What
// a transport cannot send at once (the network is full, memory is to be registered) it keeps, and
// sends it, in order, from a later submit, poll or wait; the channel's slots bound it.

#include <base/clock.hpp>
#include <sublet/status.hpp>
#include <transport/tuning.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sublet::transport {

/// The most bytes that travel in the same cache line as their header.
inline constexpr std::size_t kInlineBytes = 40;

/// With an output in the arena its place takes 8 of them.
inline constexpr std::size_t kInlineBytesBesideOffset = 32;

/// What a client submits. `in` lies in the channel's arena, or is at most kInlineBytes long
/// (kInlineBytesBesideOffset when out_capacity > kInlineBytes). `out` lies in the arena, or
/// out_capacity is at most kInlineBytes. Anything else is kInvalid: the client library stages it
/// first. Both stay valid until the reply has been collected: a transport may read an input, of any
/// size, long after submit.
struct Request {
  const void* in = nullptr;
  std::uint64_t in_size = 0;
  void* out = nullptr;
  std::uint64_t out_capacity = 0;
  std::uint16_t function = 0;
  bool traced = false;  ///< Ask the worker for its time stamps.
};

/// How a client waits. Chosen when its channel is made; the defaults suit a core of its own.
struct WaitPolicy {
  /// How long it spins (less when cores are short) before it sleeps until the reply comes.
  std::chrono::nanoseconds spin = tuning::kClientSpin;
  /// How long it sleeps before it asks whether its peer is alive.
  std::chrono::nanoseconds sleep_slice = tuning::kPeerCheck;
};

/// Names a call under way on its channel.
struct Ticket {
  std::uint32_t sequence = 0;
};

/// What came back.
struct ReplyView {
  Status status = Status::kAgain;
  std::uint64_t size = 0;
  std::uint64_t exec_ns = 0;
  /// With `traced`: when the function ran, in ticks of the worker's node; 0 when that is not
  /// comparable with the client's clock.
  base::Ticks started = 0;
  base::Ticks ended = 0;
  /// What the function or executor said of a failure; valid until the next poll of this channel.
  std::string_view error{};
};

/// The client's end. Thread rule: one thread at a time.
// clang-format off
template <class C>
concept ClientChannel = requires(C c, const C& cc, const Request& request, Ticket& ticket,
                                 ReplyView& reply, base::Deadline deadline) {
  /// Never blocks. kOk and a ticket; kAgain when the next slot is taken; kInvalid for a request
  /// that breaks the rules above; kClosed once the channel has ended. Only kOk changes anything.
  { c.submit(request, ticket) } noexcept -> std::same_as<Status>;
  /// Never blocks. kOk when the call has ended: `reply` is filled and the slot is free (ask once
  /// per ticket). kAgain when it has not; kInvalid for a ticket that is not under way. A channel
  /// that has ended answers kOk with the reply that came before its end, or with status kLost
  /// (kClosed when this side ended it).
  { c.poll(ticket, reply) } noexcept -> std::same_as<Status>;
  /// Waits for the call: spins, backs off when cores are short, then sleeps. As poll, and
  /// kDeadline when `deadline` passes first. Sees a dead peer within a second.
  { c.wait(ticket, reply, deadline) } noexcept -> std::same_as<Status>;
  /// Off the hot path: asks the system whether the peer is still there; ends the channel if not.
  { c.check_peer() } noexcept -> std::same_as<bool>;
  /// Ends the channel from this side; calls under way end with kClosed. Idempotent.
  { c.close() } noexcept;
  { cc.is_open() } noexcept -> std::same_as<bool>;
  { cc.slots() } noexcept -> std::same_as<std::uint32_t>;
  { cc.in_flight() } noexcept -> std::same_as<std::uint32_t>;
};
// clang-format on

/// A request as the worker sees it: copied out of shared memory and checked, so that nothing the
/// client does now can change it (the arena's content excepted).
struct Invocation {
  const void* in = nullptr;
  std::uint64_t in_size = 0;
  void* out = nullptr;
  std::uint64_t out_capacity = 0;
  std::uint32_t sequence = 0;
  std::uint16_t function = 0;
  bool traced = false;
  /// The output is the worker's own scratch memory, copied to the reply when the call ends.
  bool out_is_inline = false;
  /// kOk, or why the request must be refused without being run: then `in` and `out` are null, and
  /// the sizes say what the client claimed.
  Status verdict = Status::kOk;
};

/// How an invocation ended, as the worker reports it.
struct Completion {
  Status status = Status::kOk;
  std::uint64_t size = 0;
  std::uint64_t exec_ns = 0;
  base::Ticks started = 0;  ///< Only read when the invocation is traced.
  base::Ticks ended = 0;
  std::string_view error{};  ///< Only read when status is not kOk.
};

/// The worker's end. Thread rule: one worker thread; interrupt() from any.
// clang-format off
template <class S>
concept ServerChannel = requires(S s, const S& cs, Invocation& invocation,
                                 const Completion& completion, std::chrono::nanoseconds limit) {
  /// True when a request was there: `invocation` is valid until complete(). To be called again
  /// and again: a transport may look closer at some polls only.
  { s.poll(invocation) } noexcept -> std::same_as<bool>;
  /// Ends the invocation of the last poll.
  { s.complete(invocation, completion) } noexcept;
  /// Async-signal-safe: ends `sequence`, the call of the last poll, from a signal handler that has
  /// interrupted its function, or on the thread's way out. Takes a tenth of a second at most: the
  /// reply has to leave the process before that ends.
  { s.complete_dying(std::uint32_t{}, Status{}, std::string_view{}) } noexcept;
  /// Sleeps until a request may be there, interrupt() was called, or `limit` is over.
  { s.sleep(limit) } noexcept;
  /// Wakes sleep(); is_open() is false from then on.
  { s.interrupt() } noexcept;
  /// is_open() is false from then on, and nothing else happens: a reply under way still leaves, and
  /// who sleeps does so until its limit. Any thread.
  { s.retire() } noexcept;
  { cs.is_open() } noexcept -> std::same_as<bool>;
};
// clang-format on

/// How long a worker spins before it sleeps while cores are short: about what being woken costs. A
/// transport for which that is more than usual has a kContendedSpin of its own.
template <class Channel>
[[nodiscard]] constexpr std::chrono::nanoseconds contended_spin() noexcept {
  if constexpr (requires { Channel::kContendedSpin; }) {
    return Channel::kContendedSpin;
  } else {
    return tuning::kContendedSpin;
  }
}

}  // namespace sublet::transport
