#pragma once

// TCP sockets as the set-up needs them. Off the hot path. All descriptors are close-on-exec and do
// not block.

#include <base/fd.hpp>
#include <base/host_port.hpp>
#include <sublet/result.hpp>

#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace sublet::transport {

using base::HostPort;
using TimePoint = std::chrono::steady_clock::time_point;

/// What a listener's address() said. kInvalid, with the forms that are allowed, for anything else;
/// also for the host "*".
Result<HostPort> executor_at(const std::string& address);

/// The address of a host on an IP network, in the form that the system takes. A value.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  /// Nothing when `host` is no IP address: names are not looked up.
  static std::optional<SocketAddress> numeric(const std::string& host, std::uint16_t port);
  [[nodiscard]] sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
};

/// "10.0.0.7" or "fe80::1%eth0"; empty for an address of another family.
[[nodiscard]] std::string host_text(const sockaddr* address, socklen_t size);

/// Listens on a free port of `host` (an address or a name; empty: of all addresses, IPv4 and IPv6
/// where there is any).
Result<base::Fd> listen_on(const std::string& host);

/// Where a socket is bound: numbers only. The host is "*" when it has all addresses.
Result<HostPort> address_of(int socket);

/// Connects to the first address of the host that answers before `end`. kDisconnected when none
/// does. (Looking up a name is left to the system and its own deadlines.)
Result<base::Fd> connect_to(const HostPort& address, TimePoint end);

/// Prepares a connection for its use: small messages leave at once, an idle peer is asked every
/// second whether it is there, and given up after `peer_timeout`.
Result<void> prepare_connection(int socket, std::chrono::milliseconds peer_timeout);

/// Lets the end of this process or of its connection be seen by the peer at once, whatever is still
/// on its way; else it would have to take all of that first.
void end_abruptly(int socket);

/// Sleeps until the socket has one of `events` (poll(2)), has ended, or `limit` is over.
void await_socket(int socket, short events, std::chrono::nanoseconds limit) noexcept;

/// Sends all of it, waiting until `end`. False when the peer has gone or does not read.
[[nodiscard]] bool send_all(int socket, std::span<const std::byte> bytes, TimePoint end);

/// Receives as much as there is room for, waiting until `end`: less when the peer has gone or says
/// no more. How many bytes came.
[[nodiscard]] std::size_t receive_all(int socket, std::span<std::byte> bytes, TimePoint end);

/// What one look at a socket gave.
struct Received {
  std::size_t size = 0;
  bool ended = false;  ///< The peer has closed or died, and all that came before has been received.
};
/// Takes what is there, without waiting.
Received receive_some(int socket, std::span<std::byte> bytes) noexcept;

}  // namespace sublet::transport
