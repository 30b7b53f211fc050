#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>
#include <wire/executor_packets.hpp>

#include <kj/async-unix.h>

#include <deque>
#include <functional>
#include <span>
#include <vector>

namespace sublet::manager {

/// One end of a socket that speaks executor_protocol.hpp, served by the event loop.
///
/// Owner: whoever talks to that peer. On the loop's thread. Sending never blocks: what the
/// socket has no room for, because the peer has not read yet, waits here in order. How long a peer
/// may take is the business of whoever waits for its answer.
class MessageSocket {
 public:
  MessageSocket(kj::UnixEventPort& port, base::Fd socket);

  /// Calls `on_message` for each message until the peer closes or sends something that is no
  /// message; then resolves. The promise must not outlive this object.
  kj::Promise<void> serve(std::function<void(wire::ReceivedMessage)> on_message);

  /// The descriptors are only used during this call. kOverloaded when the peer has stopped reading
  /// long ago, kDisconnected when it has gone.
  template <class Body>
  [[nodiscard]] Result<void> send(wire::MessageType type, const Body& body,
                                  std::span<const int> fds = {}) {
    return send_packet(wire::pack_message(type, body), fds);
  }
  [[nodiscard]] Result<void> send(wire::MessageType type) {
    const wire::MessageHeader header{type, 0};
    return send_packet(std::as_bytes(std::span(&header, 1)), {});
  }

  /// The peer reads what has been sent, then the end; nothing is said or heard any more.
  void shut() noexcept;

 private:
  struct Packet {
    std::vector<std::byte> bytes;
    std::vector<base::Fd> fds;
  };

  [[nodiscard]] Result<void> send_packet(std::span<const std::byte> bytes,
                                         std::span<const int> fds);
  [[nodiscard]] Result<void> keep(std::span<const std::byte> bytes, std::span<const int> fds);
  kj::Promise<void> send_unsent();

  base::Fd socket_;
  kj::UnixEventPort::FdObserver observer_;
  std::deque<Packet> unsent_;
  kj::Promise<void> sending_ = nullptr;  ///< Runs while something is unsent.
};

}  // namespace sublet::manager
