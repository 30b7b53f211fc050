#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>
#include <wire/executor_packets.hpp>

#include <kj/async-unix.h>

#include <functional>
#include <span>

namespace sublet::manager {

/// One end of a socket that speaks executor_protocol.hpp, served by the event loop.
///
/// Owner: whoever talks to that peer. On the loop's thread. Sending never blocks: a peer that does
/// not read is as good as dead, and send() says so.
class MessageSocket {
 public:
  MessageSocket(kj::UnixEventPort& port, base::Fd socket);

  /// Calls `on_message` for each message until the peer closes or sends something that is no
  /// message; then resolves. The promise must not outlive this object.
  kj::Promise<void> serve(std::function<void(wire::ReceivedMessage)> on_message);

  template <class Body>
  [[nodiscard]] Result<void> send(wire::MessageType type, const Body& body,
                                  std::span<const int> fds = {}) {
    return wire::send_message(socket_.get(), type, body, fds);
  }
  [[nodiscard]] Result<void> send(wire::MessageType type) {
    return wire::send_message(socket_.get(), type);
  }

 private:
  base::Fd socket_;
  kj::UnixEventPort::FdObserver observer_;
};

}  // namespace sublet::manager
