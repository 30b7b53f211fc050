#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

// Unix sockets of type SOCK_SEQPACKET: message boundaries, order, an end that is seen, and file
// descriptors beside the bytes. All descriptors made here are close-on-exec.
namespace sublet::base {

inline constexpr std::size_t kMaxFdsPerPacket = 8;

Result<std::pair<Fd, Fd>> make_socketpair();

/// A listening socket at an abstract address (leaves no file behind); `name` without the leading
/// zero byte, at most 107 bytes.
Result<Fd> listen_abstract(const std::string& name, int backlog);
/// At an address that the system chooses.
Result<Fd> listen_abstract(int backlog);
/// The name of the abstract address that a socket is bound to.
Result<std::string> abstract_name(int socket);

/// Connects to an abstract address; kDisconnected when nobody listens there, kOverloaded when the
/// listener's queue stayed full for `timeout` (it does not accept: stopped, or flooded).
Result<Fd> connect_abstract(const std::string& name,
                            std::chrono::milliseconds timeout = std::chrono::seconds(5));

/// Sends one packet. kDisconnected when the peer is gone; EAGAIN of a non-blocking socket is
/// reported as kOverloaded.
Result<void> send_packet(int socket, std::span<const std::byte> bytes,
                         std::span<const int> fds = {});

struct Packet {
  std::size_t size = 0;  ///< Bytes written to the buffer; 0 when the peer has closed.
  std::vector<Fd> fds;
};

/// Receives one packet into `buffer`. kInvalid when it did not fit; kOverloaded when `timeout` ends
/// first. A negative timeout waits as long as the socket's own mode does.
Result<Packet> receive_packet(int socket, std::span<std::byte> buffer,
                              std::chrono::milliseconds timeout = std::chrono::milliseconds(-1));

struct PeerCredentials {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};
Result<PeerCredentials> peer_credentials(int socket);

/// True when the other end has closed or died. Never blocks.
bool peer_has_closed(int socket) noexcept;

}  // namespace sublet::base
