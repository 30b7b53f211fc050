#pragma once

#include <transport/common/link_watch.hpp>
#include <transport/common/tcp_socket.hpp>

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace sublet::transport {

/// The connections behind a listener's channels: by the end of its connection the executor learns
/// that a client has closed or died. They are asked for their end only, never read.
///
/// Owner and user: one listener, on the executor's main thread. Never blocks.
class Connections {
 public:
  using Ended = std::function<void(std::uint32_t worker)>;

  /// With `peer_timeout` a client whose host has answered nothing for that long counts as dead; for
  /// connections that carry the calls. An idle one is watched by the system.
  explicit Connections(std::optional<std::chrono::milliseconds> peer_timeout)
      : peer_timeout_(peer_timeout) {}

  void append_poll_fds(std::vector<pollfd>& fds) const;
  /// When service() has something to do that no descriptor tells of; TimePoint::max(): never.
  [[nodiscard]] TimePoint next_deadline() const;
  /// Forgets those that have ended, then names their workers.
  void service(const Ended& ended);

  /// `socket` is open as long as `owner` lives. A connection that the worker still has has ended
  /// just now: its worker is named.
  void add(std::uint32_t worker, int socket, std::shared_ptr<const void> owner, const Ended& ended);

 private:
  struct Connection {
    std::uint32_t worker;
    int socket;
    std::shared_ptr<const void> owner;
    std::optional<LinkWatch> watch;
  };

  std::optional<std::chrono::milliseconds> peer_timeout_;
  std::vector<Connection> connections_;  ///< One per worker at most.
  std::vector<pollfd> polled_;           ///< Kept for its memory.
  TimePoint check_links_at_{};
};

}  // namespace sublet::transport
