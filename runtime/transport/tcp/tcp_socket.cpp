#include <transport/setup.hpp>
#include <transport/tcp/tcp_socket.hpp>

#include <arpa/inet.h>
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
#include <utility>

namespace sublet::transport::tcp {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

/// At most so many connections wait for the executor's main thread, if the system allows it.
constexpr int kBacklog = 1024;

tl::unexpected<Error> system_error(ErrorKind kind, const std::string& attempted, int number) {
  return fail(kind, attempted + ": " + std::strerror(number), number);
}

Result<Addresses> look_up(const std::string& host, const std::string& port, int flags,
                          ErrorKind kind) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    return fail(kind, "looking up '" + host + "': " + ::gai_strerror(error));
  }
  return Addresses(found, &::freeaddrinfo);
}

base::Fd open_socket(int family) {
  return base::Fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
}

Result<base::Fd> bind_and_listen(int family, const sockaddr* address, socklen_t size,
                                 const std::string& what) {
  base::Fd socket = open_socket(family);
  const int both = 0;
  if (socket.valid() && family == AF_INET6) {
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof(both));
  }
  if (!socket.valid() || ::bind(socket.get(), address, size) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return system_error(ErrorKind::kInvalid, "listening on " + what, errno);
  }
  return socket;
}

Result<base::Fd> listen_on_all() {
  sockaddr_in6 all6{};
  all6.sin6_family = AF_INET6;
  all6.sin6_addr = in6addr_any;
  auto socket = bind_and_listen(AF_INET6, reinterpret_cast<const sockaddr*>(&all6), sizeof(all6),
                                "all addresses");
  if (socket) return socket;
  sockaddr_in all4{};  // no IPv6 here
  all4.sin_family = AF_INET;
  all4.sin_addr.s_addr = htonl(INADDR_ANY);
  return bind_and_listen(AF_INET, reinterpret_cast<const sockaddr*>(&all4), sizeof(all4),
                         "all addresses");
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
int connect_one(int socket, const addrinfo& to, std::chrono::steady_clock::time_point end) {
  if (::connect(socket, to.ai_addr, to.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return errno;
    pollfd entry{socket, POLLOUT, 0};
    int ready = 0;
    do {
      ready = ::poll(&entry, 1, static_cast<int>(left_until(end).count()));
    } while (ready < 0 && errno == EINTR);
    if (ready <= 0) return ETIMEDOUT;
    int error = 0;
    socklen_t size = sizeof(error);
    ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return error;
  }
  return is_own_end(socket) ? ECONNREFUSED : 0;
}

}  // namespace

Result<HostPort> parse_address(const std::string& address) {
  const auto colon = address.rfind(':');
  HostPort parsed;
  if (colon != std::string::npos) {
    parsed.host = address.substr(0, colon);
    parsed.port = address.substr(colon + 1);
  }
  const bool bracketed =
      parsed.host.size() > 2 && parsed.host.front() == '[' && parsed.host.back() == ']';
  if (bracketed) parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
  const bool host_good = !parsed.host.empty() && parsed.host != "*" &&
                         (bracketed || parsed.host.find_first_of(":[]") == std::string::npos);
  const bool port_good = !parsed.port.empty() && parsed.port.size() <= 5 &&
                         parsed.port.find_first_not_of("0123456789") == std::string::npos &&
                         std::stoul(parsed.port) <= 65535;
  if (!host_good || !port_good) {
    return fail(ErrorKind::kInvalid, "'" + address +
                                         "' is no address of an executor; it has the form "
                                         "HOST:PORT, or [IPV6]:PORT");
  }
  return parsed;
}

Result<base::Fd> listen_on(const std::string& host) {
  if (host.empty()) return listen_on_all();
  auto addresses = look_up(host, "0", AI_PASSIVE, ErrorKind::kInvalid);
  if (!addresses) return tl::unexpected<Error>(addresses.error());
  Result<base::Fd> socket = fail(ErrorKind::kInvalid, "'" + host + "' has no address");
  for (const addrinfo* one = addresses->get(); one != nullptr; one = one->ai_next) {
    socket = bind_and_listen(one->ai_family, one->ai_addr, one->ai_addrlen, "'" + host + "'");
    if (socket) break;
  }
  return socket;
}

Result<std::string> address_of(int socket) {
  sockaddr_storage own{};
  socklen_t size = sizeof(own);
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &size) != 0) {
    return system_error(ErrorKind::kInternal, "asking for a socket's address", errno);
  }
  const int error = ::getnameinfo(reinterpret_cast<sockaddr*>(&own), size, host.data(), host.size(),
                                  port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV);
  if (error != 0) {
    return fail(ErrorKind::kInternal,
                std::string("writing a socket's address: ") + ::gai_strerror(error));
  }
  const std::string text = host.data();
  const std::string end = std::string(":") + port.data();
  if (text == "::" || text == "0.0.0.0") return "*" + end;
  return own.ss_family == AF_INET6 ? "[" + text + "]" + end : text + end;
}

Result<base::Fd> connect_to(const HostPort& address, std::chrono::steady_clock::time_point end) {
  auto addresses = look_up(address.host, address.port, 0, ErrorKind::kDisconnected);
  if (!addresses) return tl::unexpected<Error>(addresses.error());
  int error = EADDRNOTAVAIL;
  for (const addrinfo* one = addresses->get(); one != nullptr; one = one->ai_next) {
    base::Fd socket = open_socket(one->ai_family);
    error = socket.valid() ? connect_one(socket.get(), *one, end) : errno;
    if (error == 0) return socket;
  }
  return system_error(ErrorKind::kDisconnected,
                      "connecting to '" + address.host + "' port " + address.port, error);
}

Result<void> prepare(int socket, std::chrono::milliseconds peer_timeout) {
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

bool LinkWatch::cut_off(int socket, std::chrono::steady_clock::time_point now) noexcept {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  const std::chrono::milliseconds silent(info.tcpi_last_ack_recv);
  // Data was repeated and nobody has acknowledged anything since. An idle connection is asked every
  // second, so the silence did not begin long before.
  const bool repeating = info.tcpi_unacked > 0 && info.tcpi_retransmits > 0;
  // The peer had no room, and does not answer whether it has some now. While it lives the questions
  // may be a minute apart, so the silence counts from when one was first seen unanswered.
  const bool probing = info.tcpi_probes > 0;
  if (!probing) {
    probing_since_ = {};
  } else if (probing_since_ == std::chrono::steady_clock::time_point{}) {
    probing_since_ = now;
  }
  return silent >= timeout_ && (repeating || (probing && now - probing_since_ >= timeout_));
}

}  // namespace sublet::transport::tcp
