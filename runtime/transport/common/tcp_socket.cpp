#include <base/system_text.hpp>
#include <transport/common/tcp_socket.hpp>
#include <transport/setup.hpp>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>
#include <string_view>
#include <utility>

namespace sublet::transport {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

/// How many connections may wait for the executor's main thread, if the system allows it: as many
/// as come at once when all ranks of a large job connect, or when somebody floods the port.
constexpr int kBacklog = 4096;

tl::unexpected<Error> system_error(ErrorKind kind, const std::string& attempted, int number) {
  return fail(kind, attempted + ": " + base::system_text(number), number);
}

Result<Addresses> look_up(const std::string& host, std::uint16_t port, int flags, ErrorKind kind) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) {
    return fail(kind, "looking up '" + host + "': " +
                          (error == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(error)));
  }
  return Addresses(found, &::freeaddrinfo);
}

/// BBR lets a timer of the kernel's send each 64 KiB. Where the timer is late, as on virtual
/// machines, calls wait for it: 64 KiB inputs, 16 in flight, over loopback, move at 1.3 GiB/s with
/// it and at 5.2 with CUBIC. Takes effect only before the socket is connected; what it accepts
/// inherits it. Where neither is allowed the system's choice stays.
void avoid_paced_sending(int socket) {
  std::array<char, 16> name{};  // TCP_CA_NAME_MAX
  socklen_t size = name.size();
  if (::getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name.data(), &size) != 0) return;
  if (!std::string_view(name.data()).starts_with("bbr")) return;
  for (const std::string_view other : {"cubic", "reno"}) {
    const auto length = static_cast<socklen_t>(other.size());
    if (::setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, other.data(), length) == 0) return;
  }
}

base::Fd open_socket(int family) {
  base::Fd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  if (socket.valid()) avoid_paced_sending(socket.get());
  return socket;
}

Result<base::Fd> bind_and_listen(const sockaddr* address, socklen_t size, const std::string& what) {
  base::Fd socket = open_socket(address->sa_family);
  const int both = 0;
  if (socket.valid() && address->sa_family == AF_INET6) {
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof(both));
  }
  if (!socket.valid() || ::bind(socket.get(), address, size) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return system_error(ErrorKind::kInvalid, "listening on " + what, errno);
  }
  return socket;
}

Result<base::Fd> listen_on_all() {
  Result<base::Fd> socket = fail(ErrorKind::kInvalid, "there is no IP network");
  for (const char* all : {"::", "0.0.0.0"}) {  // the second where there is no IPv6
    auto address = SocketAddress::numeric(all, 0);
    if (address) socket = bind_and_listen(address->get(), address->size, "all addresses");
    if (socket) break;
  }
  return socket;
}

/// True when the socket has one of `events`, or has ended; false when `end` comes first.
bool await_until(int socket, short events, TimePoint end) {
  for (;;) {
    pollfd entry{socket, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(left_until(end).count()));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

/// A port that nobody listens on can be the very one that the system gives to the caller: then it
/// is connected to itself.
bool is_own_end(int socket) {
  sockaddr_storage own{};
  sockaddr_storage peer{};
  socklen_t own_size = sizeof(own);
  socklen_t peer_size = sizeof(peer);
  return ::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &own_size) == 0 &&
         ::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &peer_size) == 0 &&
         own_size == peer_size && std::memcmp(&own, &peer, own_size) == 0;
}

/// 0, or errno.
int connect_one(int socket, const addrinfo& to, TimePoint end) {
  if (::connect(socket, to.ai_addr, to.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return errno;
    if (!await_until(socket, POLLOUT, end)) return ETIMEDOUT;
    int error = 0;
    socklen_t size = sizeof(error);
    ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return error;
  }
  return is_own_end(socket) ? ECONNREFUSED : 0;
}

}  // namespace

std::optional<SocketAddress> SocketAddress::numeric(const std::string& host, std::uint16_t port) {
  const auto found = look_up(host, port, AI_NUMERICHOST, ErrorKind::kInvalid);
  if (!found) return std::nullopt;
  SocketAddress address;
  address.size = (*found)->ai_addrlen;
  std::memcpy(&address.storage, (*found)->ai_addr, address.size);
  return address;
}

std::string host_text(const sockaddr* address, socklen_t size) {
  std::array<char, NI_MAXHOST> host{};
  if (::getnameinfo(address, size, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) != 0) {
    return {};
  }
  return host.data();
}

Result<base::Fd> listen_on(const std::string& host) {
  if (host.empty()) return listen_on_all();
  auto addresses = look_up(host, 0, AI_PASSIVE, ErrorKind::kInvalid);
  if (!addresses) return tl::unexpected<Error>(addresses.error());
  Result<base::Fd> socket = fail(ErrorKind::kInvalid, "'" + host + "' has no address");
  for (const addrinfo* one = addresses->get(); one != nullptr; one = one->ai_next) {
    socket = bind_and_listen(one->ai_addr, one->ai_addrlen, "'" + host + "'");
    if (socket) break;
  }
  return socket;
}

Result<HostPort> executor_at(const std::string& address) {
  auto parsed = HostPort::parse(address);
  if (parsed && parsed->host != "*") return parsed;
  return fail(ErrorKind::kInvalid, "'" + address + "' is no address of an executor: " +
                                       (parsed ? "the host is missing" : parsed.error().what()) +
                                       " (expected HOST:PORT or [IPV6]:PORT)");
}

Result<HostPort> address_of(int socket) {
  SocketAddress own;
  own.size = sizeof(own.storage);
  if (::getsockname(socket, own.get(), &own.size) != 0) {
    return system_error(ErrorKind::kInternal, "asking for a socket's address", errno);
  }
  const bool v6 = own.storage.ss_family == AF_INET6;
  const auto port = v6 ? reinterpret_cast<const sockaddr_in6&>(own.storage).sin6_port
                       : reinterpret_cast<const sockaddr_in&>(own.storage).sin_port;
  const std::string host = host_text(own.get(), own.size);
  return HostPort{host == "::" || host == "0.0.0.0" ? "*" : host, ntohs(port)};
}

Result<base::Fd> connect_to(const HostPort& address, TimePoint end) {
  auto addresses = look_up(address.host, address.port, 0, ErrorKind::kDisconnected);
  if (!addresses) return tl::unexpected<Error>(addresses.error());
  int error = EADDRNOTAVAIL;
  for (const addrinfo* one = addresses->get(); one != nullptr; one = one->ai_next) {
    base::Fd socket = open_socket(one->ai_family);
    error = socket.valid() ? connect_one(socket.get(), *one, end) : errno;
    if (error == 0) return socket;
  }
  return system_error(ErrorKind::kDisconnected, "connecting to '" + address.to_string() + "'",
                      error);
}

Result<void> prepare_connection(int socket, std::chrono::milliseconds peer_timeout) {
  const int on = 1;
  const int every_s = 1;
  // The first question comes after a second of silence, and the last one's answer has a second.
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(peer_timeout).count();
  const int questions = static_cast<int>(std::clamp<std::int64_t>(seconds - 1, 1, 127));
  const auto set = [&](int level, int option, const int& value) {
    return ::setsockopt(socket, level, option, &value, sizeof(value)) == 0;
  };
  if (!set(IPPROTO_TCP, TCP_NODELAY, on) || !set(SOL_SOCKET, SO_KEEPALIVE, on) ||
      !set(IPPROTO_TCP, TCP_KEEPIDLE, every_s) || !set(IPPROTO_TCP, TCP_KEEPINTVL, every_s) ||
      !set(IPPROTO_TCP, TCP_KEEPCNT, questions)) {
    return system_error(ErrorKind::kInternal, "preparing a connection", errno);
  }
  return {};
}

void end_abruptly(int socket) {
  const linger none{1, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

void await_socket(int socket, short events, std::chrono::nanoseconds limit) noexcept {
  if (limit.count() <= 0) return;
  timespec timeout{};
  timeout.tv_sec = static_cast<time_t>(limit.count() / 1'000'000'000);
  timeout.tv_nsec = static_cast<long>(limit.count() % 1'000'000'000);
  pollfd entry{socket, events, 0};
  // A signal (EINTR) means the same to the caller as all else: look again.
  (void)::ppoll(&entry, 1, &timeout, nullptr);
}

bool send_all(int socket, std::span<const std::byte> bytes, TimePoint end) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!await_until(socket, POLLOUT, end)) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

std::size_t receive_all(int socket, std::span<std::byte> bytes, TimePoint end) {
  std::size_t size = 0;
  while (size < bytes.size()) {
    const Received got = receive_some(socket, bytes.subspan(size));
    size += got.size;
    if (got.ended || (got.size == 0 && !await_until(socket, POLLIN, end))) break;
  }
  return size;
}

Received receive_some(int socket, std::span<std::byte> bytes) noexcept {
  for (;;) {
    const ssize_t got = ::recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got > 0) return {static_cast<std::size_t>(got), false};
    if (got < 0 && errno == EINTR) continue;
    const bool nothing_yet = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    return {0, !nothing_yet && !bytes.empty()};
  }
}

}  // namespace sublet::transport
