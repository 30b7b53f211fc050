#pragma once

// PROTOCOL  Set-up of tcp channels; what is said is in tcp_wire.hpp. The connection that was
// greeted
//           becomes the channel's stream. The worker alone reads and writes it; the main thread
//           keeps a share of it, and asks the system for its end only (POLLRDHUP, and from time to
//           time whether the peer's host still answers).
//
// STATES    Connection: accepted -> greeted (Hello received in time) -> welcomed, or refused and
//           closed.
//
// LIMITS    kMaxPending connections may wait to send their Hello, each at most kHelloTimeout.

#include <base/fd.hpp>
#include <sublet/result.hpp>
#include <transport/arena.hpp>
#include <transport/setup.hpp>
#include <transport/tcp/tcp_client_datapath.hpp>
#include <transport/tcp/tcp_server_datapath.hpp>
#include <transport/tcp/tcp_socket.hpp>
#include <transport/tcp/tcp_wire.hpp>

#include <poll.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sublet::transport::tcp {

/// Opens a channel to one worker; its address is "HOST:PORT" or "[IPV6]:PORT". kDenied with the
/// executor's reason when it refuses, kDisconnected when it is not there or does not answer in
/// time, kInvalid for an address that is none or where something else listens. Blocks.
Result<ClientChannel> connect(const ConnectOptions& options, std::shared_ptr<Arena> arena);

/// The executor's side: see NetworkListener for who calls what, when.
class Listener {
 public:
  using Accepted = std::function<void(std::uint32_t worker, std::unique_ptr<ServerChannel>)>;
  using Ended = std::function<void(std::uint32_t worker)>;

  /// Listens on a port that the system chooses, at `host` (an address or a name; empty: at all
  /// addresses).
  static Result<std::unique_ptr<Listener>> open(const ListenOptions& options,
                                                const std::string& host);
  /// `socket` listens and does not block; `address` is what clients are told.
  Listener(base::Fd socket, std::string address, const ListenOptions& options);

  /// "HOST:PORT" as numbers; "*:PORT" when it listens at all addresses: a client must know the
  /// host's name from elsewhere.
  [[nodiscard]] std::string address() const { return address_; }
  void append_poll_fds(std::vector<pollfd>& fds) const;
  [[nodiscard]] int poll_timeout_ms() const;
  /// A worker that gets a new channel while its last one's end has not been told is named first.
  void service(const MayTake& may_take, const Accepted& accepted, const Ended& ended);

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Pending {
    base::Fd socket;
    Time deadline;
    std::array<std::byte, sizeof(Hello)> hello{};
    std::size_t received = 0;
  };
  struct Connection {
    std::uint32_t worker;
    std::shared_ptr<const Stream> stream;
    LinkWatch watch;
  };

  void drop_ended(Time now, const Ended& ended);
  void accept_all(Time now);
  /// False when the Hello has not come completely.
  bool greet(Pending& pending, const MayTake& may_take, const Accepted& accepted,
             const Ended& ended);
  void welcome(Pending& pending, const Hello& hello, const Accepted& accepted, const Ended& ended);

  base::Fd socket_;
  std::string address_;
  ListenOptions options_;
  std::vector<Pending> pending_;
  std::vector<Connection> connections_;  ///< One per worker at most.
  std::vector<pollfd> polled_;           ///< Kept for its memory.
  Time accept_after_{};                  ///< Unset: connections are accepted.
  Time check_links_at_{};
};

}  // namespace sublet::transport::tcp
