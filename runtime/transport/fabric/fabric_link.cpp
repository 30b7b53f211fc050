#include <transport/fabric/fabric_link.hpp>
#include <transport/setup.hpp>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

namespace sublet::transport::fabric {
namespace {

constexpr int kBacklog = 256;

/// A dead host is noticed after kProbeAfter and kProbes more seconds of silence.
constexpr int kProbeAfter = 1;
constexpr int kProbes = 3;

using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Result<AddressList> resolve(const std::string& host, const std::string& port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int error =
      ::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &list);
  if (error != 0) {
    return fail(ErrorKind::kInvalid,
                "the host '" + host + "' cannot be resolved: " +
                    (error == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(error)));
  }
  return AddressList(list, &::freeaddrinfo);
}

/// Waits for `events`; false when `end` comes first.
bool wait_for(int socket, short events, TimePoint end) {
  for (;;) {
    pollfd entry{socket, events, 0};
    const auto left = left_until(end);
    const int ready = ::poll(&entry, 1, static_cast<int>(left.count()));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

tl::unexpected<Error> disconnected(const char* attempt, int error) {
  return fail(ErrorKind::kDisconnected, std::string(attempt) + ": " + std::strerror(error), error);
}

Result<base::Fd> connect_to(const addrinfo& to, TimePoint end) {
  base::Fd socket(
      ::socket(to.ai_family, to.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to.ai_protocol));
  if (!socket.valid()) return disconnected("making a socket", errno);
  if (::connect(socket.get(), to.ai_addr, to.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return disconnected("connecting", errno);
    if (!wait_for(socket.get(), POLLOUT, end)) return disconnected("connecting", ETIMEDOUT);
    int error = 0;
    socklen_t size = sizeof(error);
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return disconnected("connecting", error);
  }
  tune_link(socket.get());
  return socket;
}

}  // namespace

void tune_link(int socket) noexcept {
  const auto set = [socket](int level, int name, int value) {
    ::setsockopt(socket, level, name, &value, sizeof(value));
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kProbeAfter);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 1);
  set(IPPROTO_TCP, TCP_KEEPCNT, kProbes);
}

Result<base::Fd> listen_link(const std::string& host) {
  auto list = resolve(host, "0", AI_PASSIVE);
  if (!list) return tl::unexpected<Error>(list.error());
  int error = 0;
  // All addresses: the socket for IPv6 takes both kinds.
  for (const int family : {AF_INET6, AF_INET}) {
    for (const addrinfo* at = list->get(); at != nullptr; at = at->ai_next) {
      if (at->ai_family != family) continue;
      base::Fd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      const int only_ipv6 = 0;
      if (socket.valid() && family == AF_INET6 && host.empty()) {
        ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only_ipv6, sizeof(only_ipv6));
      }
      if (socket.valid() && ::bind(socket.get(), at->ai_addr, at->ai_addrlen) == 0 &&
          ::listen(socket.get(), kBacklog) == 0) {
        return socket;
      }
      error = errno;
    }
  }
  return fail(ErrorKind::kInvalid,
              "no listening socket at '" + (host.empty() ? "all addresses" : host) +
                  "': " + std::strerror(error),
              error);
}

Result<int> port_of(const base::Fd& socket) {
  sockaddr_storage name{};
  socklen_t size = sizeof(name);
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&name), &size) != 0) {
    return fail(ErrorKind::kInternal, "getsockname", errno);
  }
  return name.ss_family == AF_INET6 ? ntohs(reinterpret_cast<sockaddr_in6*>(&name)->sin6_port)
                                    : ntohs(reinterpret_cast<sockaddr_in*>(&name)->sin_port);
}

Result<base::Fd> connect_link(const std::string& address, TimePoint end) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == address.size()) {
    return fail(ErrorKind::kInvalid, "'" + address + "' is no address; expected HOST:PORT");
  }
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  auto list = resolve(host, address.substr(colon + 1), 0);
  if (!list) return tl::unexpected<Error>(list.error());
  Result<base::Fd> socket = fail(ErrorKind::kInvalid, "the host has no address");
  for (const addrinfo* at = list->get(); at != nullptr; at = at->ai_next) {
    socket = connect_to(*at, end);
    if (socket) return socket;
  }
  return fail(socket.error().kind(), "'" + address + "': " + socket.error().what(),
              socket.error().system_errno());
}

Result<void> send_all(int socket, std::span<const std::byte> bytes, TimePoint end) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait_for(socket, POLLOUT, end)) return disconnected("sending", ETIMEDOUT);
    } else if (errno != EINTR) {
      return disconnected("sending", errno);
    }
  }
  return {};
}

Result<void> receive_all(int socket, std::span<std::byte> bytes, TimePoint end) {
  while (!bytes.empty()) {
    const Received got = receive_some(socket, bytes);
    if (got.ended) return disconnected("receiving", ECONNRESET);
    bytes = bytes.subspan(got.size);
    if (got.size == 0 && !wait_for(socket, POLLIN, end)) {
      return disconnected("waiting for an answer", ETIMEDOUT);
    }
  }
  return {};
}

Received receive_some(int socket, std::span<std::byte> bytes) noexcept {
  if (bytes.empty()) return {};
  for (;;) {
    const ssize_t got = ::recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got > 0) return {static_cast<std::size_t>(got), false};
    if (got < 0 && errno == EINTR) continue;
    const bool nothing_yet = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    return {0, !nothing_yet};
  }
}

}  // namespace sublet::transport::fabric
