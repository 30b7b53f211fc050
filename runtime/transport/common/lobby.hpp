#pragma once

#include <base/fd.hpp>
#include <transport/common/doorkeeper.hpp>
#include <transport/common/tcp_socket.hpp>

#include <poll.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <span>
#include <vector>

namespace sublet::transport {

/// How long a connection may take to say who it is, and how many may not have said so yet. On a
/// busy machine an honest client may be kept from the processor for more than a second. There is
/// room for the ranks of a whole job that connect at once; each costs a descriptor.
inline constexpr auto kHelloTimeout = std::chrono::seconds(5);
inline constexpr std::size_t kMaxPending = 256;

/// How many connections are accepted, at most, before the listener's owner does its other work.
inline constexpr std::size_t kAcceptsPerTurn = 64;

/// How long no connection is accepted after accepting one failed for want of descriptors or memory.
inline constexpr auto kAcceptPause = std::chrono::milliseconds(100);

/// The connections of a listening socket that have not said who they are.
///
/// The problem: whoever reaches the socket can connect and say nothing, a thousand times. A silent
/// connection must not delay an honest one. So none is waited for: all are looked at in each turn.
/// There is no more than kMaxPending of them: the oldest makes room for the next, after one more
/// look at it. An honest client sends its Hello with the first packets of its connection, and so
/// does not become the oldest; if it does, it is told to connect again (Status::kAgain).
///
/// Owner and user: one listener, on the executor's main thread. Never blocks.
class Lobby {
 public:
  /// How the transport's Hello looks.
  struct HelloForm {
    std::uint32_t magic = 0;
    std::uint32_t version = 0;
    std::size_t size = 0;  ///< Of the Greeting and what follows it.
    /// It is one packet, with this many descriptors beside it; else a piece of a stream.
    bool is_packet = false;
    std::size_t descriptors = 0;
  };

  /// A client that has said who it is and may have what it asks for.
  struct Guest {
    base::Fd socket;
    Greeting greeting{};
    std::span<const std::byte> hello;  ///< All of it, greeting included; for this call.
    std::vector<base::Fd> descriptors;
  };
  /// Gives the guest a channel, or refuses it.
  using Admit = std::function<void(Guest guest)>;

  /// `socket` listens.
  Lobby(base::Fd socket, const HelloForm& form, const ListenOptions& options,
        std::chrono::milliseconds hello_timeout = kHelloTimeout);

  void append_poll_fds(std::vector<pollfd>& fds) const;
  /// When service() must be called although no descriptor is ready; TimePoint::max(): never.
  [[nodiscard]] TimePoint next_deadline() const;
  /// Accepts who is there, hears what was said, refuses who may not come in.
  void service(const MayTake& may_take, const Admit& admit);

 private:
  struct Pending {
    base::Fd socket;
    TimePoint deadline;
    std::vector<std::byte> hello;
    std::size_t received = 0;
    std::vector<base::Fd> descriptors;
  };
  enum class Heard { kNothingYet, kHello, kNonsense, kEnd };
  struct Turn {
    TimePoint now;
    const MayTake& may_take;
    const Admit& admit;
  };

  void accept_some(const Turn& turn);
  /// Lets the oldest connection go.
  void make_room(const Turn& turn);
  /// True when the connection is no longer pending.
  bool serve(Pending& pending, const Turn& turn);
  Heard hear(Pending& pending) const;
  void judge(Pending& pending, const Turn& turn);

  base::Fd socket_;
  HelloForm form_;
  Doorkeeper doorkeeper_;
  std::chrono::milliseconds hello_timeout_;
  std::list<Pending> pending_;  ///< The oldest first.
  TimePoint accept_after_{};    ///< Unset: connections are accepted.
};

}  // namespace sublet::transport
