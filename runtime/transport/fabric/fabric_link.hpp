#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>

// The TCP connection beside each channel (see fabric_wire.hpp). All descriptors are close-on-exec
// and non-blocking.
namespace sublet::transport::fabric {

using TimePoint = std::chrono::steady_clock::time_point;

/// A listening socket. `host`: a name or address, empty for all addresses.
Result<base::Fd> listen_link(const std::string& host);

/// The port of a bound socket.
Result<int> port_of(const base::Fd& socket);

/// Connects to "HOST:PORT" ("[HOST]:PORT" when the host has colons). kInvalid for another text,
/// kDisconnected when nobody is there before `end`.
Result<base::Fd> connect_link(const std::string& address, TimePoint end);

/// Small packets leave at once, and a peer whose host is gone is noticed.
void tune_link(int socket) noexcept;

/// Sends all of it, waiting until `end`. kDisconnected when the peer has gone or does not read.
Result<void> send_all(int socket, std::span<const std::byte> bytes, TimePoint end);

/// Receives exactly as much, waiting until `end`. kDisconnected otherwise.
Result<void> receive_all(int socket, std::span<std::byte> bytes, TimePoint end);

/// What one look at a socket gave.
struct Received {
  std::size_t size = 0;
  bool ended = false;  ///< The peer has closed or died.
};
/// Takes what is there, without waiting.
Received receive_some(int socket, std::span<std::byte> bytes) noexcept;

}  // namespace sublet::transport::fabric
