#pragma once

// What the set-up of all transports has in common: who may connect to which worker, and how the
// executor's main thread serves those who want to.

#include <base/token.hpp>
#include <sublet/status.hpp>
#include <transport/contract.hpp>

#include <poll.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sublet::transport {

using base::kTokenBytes;
using base::same_token;
using base::Token;

/// A power of two up to `most`.
[[nodiscard]] bool usable_slots(std::uint32_t slots, std::uint32_t most) noexcept;

/// How a client connects to one worker.
struct ConnectOptions {
  std::string address;  ///< What the executor's listener said: Listener::address().
  Token token{};
  std::uint32_t worker = 0;
  std::uint32_t slots = tuning::kDefaultSlots;
  std::chrono::milliseconds timeout{5000};  ///< Of the whole set-up.
  WaitPolicy wait{};
  /// A peer that does not answer at all for so long is dead: its link was cut, or its power off.
  std::chrono::milliseconds peer_timeout = tuning::kPeerTimeout;
  /// True once another connection to the same node is known to be dead: the channel then ends with
  /// kLost at its next check_peer(). Any thread; never called on the hot path; may be empty.
  std::function<bool()> peer_gone{};
};

/// What an executor lets clients connect to.
struct ListenOptions {
  Token token{};
  std::uint32_t workers = 1;
  std::uint32_t max_slots = tuning::kDefaultSlots;
  std::uint64_t max_arena_bytes = 0;
  std::chrono::milliseconds peer_timeout = tuning::kPeerTimeout;
  /// The workers hardly ever spin.
  bool mostly_warm = false;
};

/// What a client asks for in its first message, as it came over the wire.
struct Wish {
  std::uint32_t version = 0;
  Token token{};
  std::uint32_t worker = 0;
  std::uint32_t slots = 0;
  std::uint64_t arena_size = 0;
};

struct Refusal {
  Status status = Status::kDenied;
  std::string text;
};

/// Says whether a worker has no channel now.
using MayTake = std::function<bool(std::uint32_t worker)>;

/// Why a client may not have what it asks for; nothing when it may. The token is looked at first.
[[nodiscard]] std::optional<Refusal> why_refused(const Wish& wish, std::uint32_t version,
                                                 const ListenOptions& options,
                                                 const MayTake& may_take);

/// How long a connection may take for each step of its set-up, and how many may be in set-up. On a
/// busy machine an honest client may be kept from the processor for more than a second.
inline constexpr auto kHelloTimeout = std::chrono::seconds(5);
inline constexpr std::size_t kMaxPending = 64;

/// For so long no connection is accepted after one could not be for want of descriptors or memory.
inline constexpr auto kAcceptPause = std::chrono::milliseconds(100);

/// Not negative, which would mean for ever.
[[nodiscard]] std::chrono::milliseconds left_until(std::chrono::steady_clock::time_point end);

/// The executor's side of a network transport. Owner and user: the executor's main thread, in its
/// poll loop: it adds the descriptors to its set, and calls service() when any of them is ready or
/// poll_timeout_ms() is over. Never blocks.
// clang-format off
template <class L, class Channel>
concept NetworkListener = requires(L l, const L& cl, std::vector<pollfd>& fds, const MayTake& may_take,
    const std::function<void(std::uint32_t worker, std::unique_ptr<Channel>)>& accepted,
    const std::function<void(std::uint32_t worker)>& ended) {
  /// What a client needs to find it: a line of text, without secrets.
  { cl.address() } -> std::convertible_to<std::string>;
  { l.append_poll_fds(fds) };
  /// How long poll(2) may sleep for the sake of this listener; -1: for ever.
  { cl.poll_timeout_ms() } -> std::same_as<int>;
  /// Answers whoever wants to connect. `accepted` takes each new channel; `ended` names the workers
  /// whose client has closed or died, once each: the owner then interrupts their channels.
  { l.service(may_take, accepted, ended) };
};
// clang-format on

}  // namespace sublet::transport
