#pragma once

#include <chrono>

namespace sublet::transport {

/// Whether the other end's host still answers, for a peer that was cut off with something on its
/// way to it.
///
/// The problem: an idle connection is kept alive and given up by the system itself
/// (prepare_connection()). With unacknowledged data it goes on for a quarter of an hour.
/// TCP_USER_TIMEOUT shortens that, but also ends connections whose peer is alive and only does not
/// read: a worker busy with a long function, with more input waiting than its socket holds, or a
/// client that computes before it collects. So the counters are looked at instead: is something
/// being repeated that nothing answers?
///
/// User: one thread, from time to time.
class LinkWatch {
 public:
  explicit LinkWatch(std::chrono::milliseconds peer_timeout) noexcept : timeout_(peer_timeout) {}

  /// True when the peer's host has answered nothing for its time. Never for a socket that is not
  /// TCP. One system call.
  [[nodiscard]] bool cut_off(int socket, std::chrono::steady_clock::time_point now) noexcept;

 private:
  std::chrono::milliseconds timeout_;
  std::chrono::steady_clock::time_point probing_since_{};
};

}  // namespace sublet::transport
