#pragma once

// clang-format off
// PROTOCOL  Set-up of tcp channels; what is said is in tcp_wire.hpp. The connection that was
//           greeted becomes the channel's stream. The worker alone reads and writes it; the main
//           thread keeps a share of it, and asks the system for its end only (POLLRDHUP, and from
//           time to time whether the peer's host still answers).
// STATES    See common/greeting.hpp.
// LIMITS    See common/lobby.hpp.
// clang-format on

#include <sublet/result.hpp>
#include <transport/arena.hpp>
#include <transport/common/socket_listener.hpp>
#include <transport/tcp/tcp_client_datapath.hpp>
#include <transport/tcp/tcp_server_datapath.hpp>

#include <memory>
#include <string>

namespace sublet::transport::tcp {

/// The executor's side: see ChannelListener for who calls what, when.
class Listener : public SocketListener<ServerChannel> {
 public:
  /// Listens on a port that the system chooses, at `host` (an address or a name; empty: at all
  /// addresses; then address() is "*:PORT", and a client must know the host's name from elsewhere).
  static Result<std::unique_ptr<Listener>> open(const ListenOptions& options,
                                                const std::string& host);

  void service(const MayTake& may_take, const Accepted& accepted, const Ended& ended);

 private:
  using SocketListener::SocketListener;

  void admit(Lobby::Guest guest, const Accepted& accepted, const Ended& ended);
};

}  // namespace sublet::transport::tcp
