#pragma once

// What the set-up of a transport takes and provides: the second half of the data-plane contract.
// What all of them share of it is in common/.

#include <base/token.hpp>
#include <sublet/result.hpp>
#include <sublet/status.hpp>
#include <transport/contract.hpp>

#include <poll.h>

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sublet::transport {

using base::kTokenBytes;
using base::same_token;
using base::Token;

/// How a client connects to one worker.
struct ConnectOptions {
  std::string address;  ///< What the executor's listener said: Listener::address().
  Token token{};
  std::uint32_t generation = 0;  ///< Which of the lease's executors it is.
  std::uint32_t worker = 0;
  std::uint32_t slots = tuning::kDefaultSlots;
  std::chrono::milliseconds timeout{5000};  ///< Of the whole set-up.
  WaitPolicy wait{};
  /// A peer that answers nothing for this long is dead: its link was cut, or it has lost power.
  std::chrono::milliseconds peer_timeout = tuning::kPeerTimeout;
  /// True once another connection to the same node is known to be dead: the channel then ends with
  /// kLost at its next check_peer(). Any thread; never called on the hot path; may be empty.
  std::function<bool()> peer_gone{};
  /// Whether a socket of this node at which that user listens can be the executor's. Memory is
  /// given to whoever listens there. Empty: whoever it is.
  std::function<bool(std::uint32_t uid)> believes{};
};

/// What an executor lets clients connect to.
struct ListenOptions {
  Token token{};
  std::uint32_t generation = 0;  ///< Which of the lease's executors this is.
  std::uint32_t workers = 1;
  std::uint32_t max_slots = tuning::kDefaultSlots;
  std::uint64_t max_arena_bytes = 0;
  std::chrono::milliseconds peer_timeout = tuning::kPeerTimeout;
  /// The workers hardly ever spin.
  bool mostly_warm = false;
};

/// Says whether a worker has no channel now.
using MayTake = std::function<bool(std::uint32_t worker)>;

/// Not negative, which would mean for ever.
[[nodiscard]] std::chrono::milliseconds left_until(std::chrono::steady_clock::time_point end);

/// The executor's side of a transport. Owner and user: the executor's main thread, in its poll
/// loop: it adds the descriptors to its set, and calls service() when any of them is ready or
/// poll_timeout_ms() is over. Never blocks.
// clang-format off
template <class L, class Channel>
concept ChannelListener = requires(L l, const L& cl, std::vector<pollfd>& fds,
    const ListenOptions& options, const std::string& host, const MayTake& may_take,
    const std::function<void(std::uint32_t worker, std::unique_ptr<Channel>)>& accepted,
    const std::function<void(std::uint32_t worker)>& ended) {
  /// Listens at `host`, whose form is the transport's; empty: wherever it can.
  { L::open(options, host) } -> std::same_as<Result<std::unique_ptr<L>>>;
  /// What a client needs to find it: a line of text, without secrets.
  { cl.address() } -> std::convertible_to<std::string>;
  { l.append_poll_fds(fds) };
  /// How long poll(2) may sleep for the sake of this listener; -1: for ever.
  { cl.poll_timeout_ms() } -> std::same_as<int>;
  /// Answers whoever wants to connect. `accepted` takes each new channel; `ended` names the workers
  /// whose client has closed or died, once each and before a new channel of theirs: the owner then
  /// interrupts their channels.
  { l.service(may_take, accepted, ended) };
};
// clang-format on

}  // namespace sublet::transport
