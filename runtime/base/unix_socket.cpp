#include <base/system_text.hpp>
#include <base/uncancelled.hpp>
#include <base/unix_socket.hpp>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

namespace sublet::base {
namespace {

using std::chrono::steady_clock;

/// Longer waits are cut to this, so that the arithmetic on them cannot overflow.
constexpr std::chrono::milliseconds kLongestWait = std::chrono::hours(24 * 365);

steady_clock::time_point time_after(std::chrono::milliseconds timeout) noexcept {
  return steady_clock::now() + std::min(timeout, kLongestWait);
}

std::string errno_text(const std::string& attempted) {
  return attempted + ": " + system_text(errno);
}

/// Zero: sends wait for ever.
void set_send_timeout(int socket, std::int64_t us) noexcept {
  timeval value{};
  value.tv_sec = us / 1'000'000;
  value.tv_usec = us % 1'000'000;
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof(value));
}

/// Waits until `socket` is readable: 1, or 0 when `timeout` is over, or -1 with errno.
int await_readable(int socket, std::chrono::milliseconds timeout) noexcept {
  const auto end = time_after(timeout);
  auto left = std::min(timeout, kLongestWait);
  for (;;) {
    pollfd entry{socket, POLLIN, 0};
    const int ready =
        ::poll(&entry, 1, static_cast<int>(std::min<std::int64_t>(left.count(), INT_MAX)));
    if (ready > 0 || (ready < 0 && errno != EINTR)) return ready;
    left = std::chrono::ceil<std::chrono::milliseconds>(end - steady_clock::now());
    if (left.count() <= 0) return 0;
  }
}

Result<sockaddr_un> abstract_address(const std::string& name, socklen_t& length) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.empty() || name.size() > sizeof(address.sun_path) - 1) {
    return fail(ErrorKind::kInvalid, "socket name '" + name + "' has " +
                                         std::to_string(name.size()) +
                                         " bytes; 1 to 107 are allowed");
  }
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

Result<Fd> listen_at(const sockaddr_un& address, socklen_t length, int backlog,
                     const std::string& attempted) {
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid() || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
      ::listen(fd.get(), backlog) != 0) {
    return fail(ErrorKind::kInternal, errno_text(attempted), errno);
  }
  return fd;
}

}  // namespace

Result<std::pair<Fd, Fd>> make_socketpair() {
  std::array<int, 2> fds{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds.data()) != 0) {
    return fail(ErrorKind::kInternal, errno_text("making a socket pair"), errno);
  }
  return std::make_pair(Fd(fds[0]), Fd(fds[1]));
}

Result<Fd> listen_abstract(const std::string& name, int backlog) {
  socklen_t length = 0;
  auto address = abstract_address(name, length);
  if (!address) return tl::unexpected<Error>(address.error());
  return listen_at(*address, length, backlog, "listening on abstract socket '" + name + "'");
}

Result<Fd> listen_abstract(int backlog) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // The family alone: the system chooses a name (see unix(7), "Autobind").
  return listen_at(address, sizeof(address.sun_family), backlog, "listening on an abstract socket");
}

Result<std::string> abstract_name(int socket) {
  sockaddr_un address{};
  socklen_t length = sizeof(address);
  constexpr socklen_t kFirst = offsetof(sockaddr_un, sun_path) + 1;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
      address.sun_family != AF_UNIX || length < kFirst || address.sun_path[0] != '\0') {
    return fail(ErrorKind::kInvalid,
                "a socket that was handed over is not bound to an abstract name");
  }
  return std::string(address.sun_path + 1, length - kFirst);
}

Result<Fd> connect_abstract(const std::string& name, std::chrono::milliseconds timeout) {
  socklen_t length = 0;
  auto address = abstract_address(name, length);
  if (!address) return tl::unexpected<Error>(address.error());
  const std::string attempted = "connecting to abstract socket '" + name + "'";
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail(ErrorKind::kInternal, errno_text(attempted), errno);

  // connect(2) waits for room in the listener's queue as long as a send may wait.
  const auto end = time_after(std::max(timeout, std::chrono::milliseconds(1)));
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::microseconds>(end - steady_clock::now()).count();
    set_send_timeout(fd.get(), std::max<std::int64_t>(left, 1));
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&*address), length) == 0) break;
    if (errno == EINTR && left > 0) continue;
    const bool full = errno == EAGAIN || errno == EINTR;
    return fail(full ? ErrorKind::kOverloaded : ErrorKind::kDisconnected, errno_text(attempted),
                errno);
  }
  set_send_timeout(fd.get(), 0);
  return fd;
}

Result<void> send_packet(int socket, std::span<const std::byte> bytes, std::span<const int> fds) {
  if (fds.size() > kMaxFdsPerPacket) {
    return fail(ErrorKind::kInvalid, "a packet carries at most 8 file descriptors");
  }
  iovec iov{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxFdsPerPacket)> control{};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return {};
  const bool full = errno == EAGAIN || errno == EWOULDBLOCK;
  return fail(full ? ErrorKind::kOverloaded : ErrorKind::kDisconnected,
              errno_text("sending a packet of " + std::to_string(bytes.size()) + " bytes"), errno);
}

Result<Packet> receive_packet(int socket, std::span<std::byte> buffer,
                              std::chrono::milliseconds timeout) {
  if (timeout.count() >= 0) {
    const int ready = await_readable(socket, timeout);
    if (ready < 0) {
      return fail(ErrorKind::kInternal, errno_text("waiting for a packet"), errno);
    }
    if (ready == 0) {
      return fail(ErrorKind::kOverloaded,
                  "no packet came within " + std::to_string(timeout.count()) + " ms");
    }
  }
  iovec iov{buffer.data(), buffer.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxFdsPerPacket)> control{};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t received;
  do {
    received = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0) {
    const bool empty = errno == EAGAIN || errno == EWOULDBLOCK;
    return fail(empty ? ErrorKind::kOverloaded : ErrorKind::kDisconnected,
                errno_text("receiving a packet"), errno);
  }
  Packet packet;
  packet.size = static_cast<std::size_t>(received);
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      packet.fds.emplace_back(fd);
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return fail(ErrorKind::kInvalid,
                "a packet did not fit its buffer of " + std::to_string(buffer.size()) + " bytes");
  }
  return packet;
}

Result<PeerCredentials> peer_credentials(int socket) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return fail(ErrorKind::kUnsupported, errno_text("asking who the peer is"), errno);
  }
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

bool peer_has_closed(int socket) noexcept {
  const Uncancelled uncancelled;
  pollfd entry{socket, POLLRDHUP, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace sublet::base
