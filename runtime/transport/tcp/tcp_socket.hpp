#pragma once

// Sockets as the set-up needs them, and whether the other host still answers. Off the hot path.

#include <base/fd.hpp>
#include <sublet/result.hpp>

#include <chrono>
#include <cstdint>
#include <string>

namespace sublet::transport::tcp {

/// A host and a port as a client gives them: "node7:4711", "10.0.0.7:4711", "[fe80::1%eth0]:4711".
struct HostPort {
  std::string host;
  std::string port;
};
Result<HostPort> parse_address(const std::string& address);

/// Listens on a free port of `host` (an address or a name; empty: of all addresses, IPv4 and IPv6
/// where there is any). Not blocking.
Result<base::Fd> listen_on(const std::string& host);

/// "HOST:PORT" of a listening socket, numbers only; "*:PORT" when it has all addresses.
Result<std::string> address_of(int socket);

/// Connects to the first address of the host that answers before `end`. kDisconnected when none
/// does. Not blocking. (Looking up a name is left to the system and its own deadlines.)
Result<base::Fd> connect_to(const HostPort& address, std::chrono::steady_clock::time_point end);

/// Prepares a connection for the data plane: small messages leave at once, an idle peer is asked
/// every second whether it is there, and given up after `peer_timeout`.
Result<void> prepare(int socket, std::chrono::milliseconds peer_timeout);

/// Lets the end of this process or of its stream be seen by the peer at once, whatever is still on
/// its way; else it would have to take all of that first.
void end_abruptly(int socket);

/// Sleeps until the socket has one of `events` (poll(2)), has ended, or `limit` is over.
void await_socket(int socket, short events, std::chrono::nanoseconds limit) noexcept;

/// Whether the other end's host still answers, for a peer that was cut off with something on its
/// way to it.
///
/// The problem: an idle connection is kept alive and given up by the system itself (prepare()).
/// With unacknowledged data it goes on for a quarter of an hour. TCP_USER_TIMEOUT shortens that,
/// but also ends connections whose peer is alive and only does not read: a worker busy with a long
/// function, with more input waiting than its socket holds, or a client that computes before it
/// collects. So the counters are looked at instead: is something being repeated that nothing
/// answers?
///
/// User: one thread, from time to time.
class LinkWatch {
 public:
  explicit LinkWatch(std::chrono::milliseconds peer_timeout) noexcept : timeout_(peer_timeout) {}

  /// True when the peer's host has answered nothing for its time. One system call.
  [[nodiscard]] bool cut_off(int socket, std::chrono::steady_clock::time_point now) noexcept;

 private:
  std::chrono::milliseconds timeout_;
  std::chrono::steady_clock::time_point probing_since_{};
};

}  // namespace sublet::transport::tcp
