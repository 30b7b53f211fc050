// The bare exchange over a TCP connection of the loopback interface: the baseline where calls
// travel over a network of sockets.
//
// PROTOCOL  Data is bare: no header, no numbers. The server sends back every message, until one
//           comes while `stopping` is set: that one it drops. Both ends use one system call for a
//           message that fits the socket.
//           A stream is one word, how many messages follow, then these, then one byte back; the
//           word 0 ends it.
// LIMITS    A message has at least one byte: a stream of bytes has no empty ones.

#include <bench/raw_transport.hpp>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sublet::bench {
namespace {

/// Ends a wait for the other side after kRawExchangeLimit.
class Patience {
 public:
  /// After an attempt that moved nothing. False when it is over. Looks at the clock every some
  /// milliseconds, longer than any exchange takes: no measured one pays for it.
  [[nodiscard]] bool lasts() noexcept {
    constexpr std::uint32_t kAttemptsPerLook = 1u << 15;
    if (++attempts_ % kAttemptsPerLook != 0) return true;
    const base::Ticks now = base::ticks();
    if (since_ == 0) since_ = now;
    return now - since_ <= base::TickRate::get().from(kRawExchangeLimit);
  }

 private:
  std::uint32_t attempts_ = 0;
  base::Ticks since_ = 0;
};

/// Sends all of it; spins while the socket is full. False when the other end has gone or does not
/// read.
bool send_all(int socket, const std::byte* data, std::size_t size) noexcept {
  Patience patience;
  while (size != 0) {
    const ssize_t n = ::send(socket, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      data += n;
      size -= static_cast<std::size_t>(n);
      continue;
    }
    if ((errno != EAGAIN && errno != EINTR) || !patience.lasts()) return false;
  }
  return true;
}

/// Receives exactly so much: spinning, or blocked. False when the other end has gone, or (spinning)
/// says nothing.
template <bool kSpins>
bool receive_all(int socket, std::byte* data, std::size_t size) noexcept {
  Patience patience;
  while (size != 0) {
    const ssize_t n = ::recv(socket, data, size, kSpins ? MSG_DONTWAIT : 0);
    if (n > 0) {
      data += n;
      size -= static_cast<std::size_t>(n);
      continue;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) return false;
    // The pause makes the exchange faster by about 2 %: fewer looks at a socket that the other side
    // is about to fill.
    base::cpu_pause();
    if (!patience.lasts()) return false;
  }
  return true;
}

tl::unexpected<Error> system_error(const std::string& attempted) {
  const int number = errno;
  return fail(ErrorKind::kInternal, attempted + ": " + std::strerror(number), number);
}

/// Two ends of a connection over the loopback interface.
Result<std::pair<base::Fd, base::Fd>> connect_loopback() {
  const base::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  base::Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (!listener.valid() || !client.valid() || ::bind(listener.get(), generic, size) != 0 ||
      ::listen(listener.get(), 1) != 0 || ::getsockname(listener.get(), generic, &size) != 0 ||
      ::connect(client.get(), generic, size) != 0) {
    return system_error("connecting over the loopback interface");
  }
  base::Fd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const int on = 1;
  if (!server.valid() ||
      ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
      ::setsockopt(server.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) {
    return system_error("preparing a connection over the loopback interface");
  }
  return std::pair(std::move(client), std::move(server));
}

class RawTcp final : public RawExchangeOf<RawTcp> {
 public:
  static constexpr std::size_t kInFlag = 0;

  /// HOT-PATH BUDGET: one send and one receive that finds the reply, on each side, and as many
  /// receives before as find nothing.
  template <RawKind kKind>
  [[nodiscard]] bool exchange(const std::byte* in, std::byte* out) noexcept {
    if (size() == 0) [[unlikely]] {
      in = in_.data();
      out = out_.data();
    }
    return send_all(data_.get(), in, message_) && receive_all<true>(data_.get(), out, message_);
  }

 private:
  Result<void> prepare() override {
    auto ends = connect_loopback();
    if (!ends) return tl::unexpected<Error>(std::move(ends.error()));
    data_ = std::move(ends->first);
    servers_ = std::move(ends->second);
    return {};
  }
  Result<void> open_server(base::HelperLink&) override {
    data_ = std::move(servers_);  // the client's end closes here, else it would hold itself open
    allocate();
    return {};
  }
  Result<void> open_client(base::HelperLink&) override {
    servers_.reset();
    allocate();
    return {};
  }
  void allocate() {
    in_.resize(std::max(max_size(), sizeof(std::uint64_t)));
    out_.resize(in_.size());
  }

  bool serve(RawKind kind, std::size_t size) override {
    size = std::max<std::size_t>(size, 1);
    if (kind == RawKind::kHot) return serve_calls<true>(size);
    if (kind == RawKind::kWarm) return serve_calls<false>(size);
    return kind == RawKind::kStream && serve_stream(size);
  }
  template <bool kSpins>
  bool serve_calls(std::size_t size) {
    while (receive_all<kSpins>(data_.get(), in_.data(), size)) {
      if (control().stopping.load(std::memory_order_acquire) != 0) return true;
      std::memcpy(out_.data(), in_.data(), size);
      if (!send_all(data_.get(), out_.data(), size)) return false;
    }
    // A hot one has waited for long: its client was stopped, or has died and will end this process.
    return false;
  }
  bool serve_stream(std::size_t size) {
    for (;;) {
      std::uint64_t count = 0;
      if (!receive_all<true>(data_.get(), reinterpret_cast<std::byte*>(&count), sizeof(count))) {
        return false;
      }
      if (count == 0) return true;
      for (; count != 0; --count) {
        if (!receive_all<true>(data_.get(), in_.data(), size)) return false;
      }
      if (!send_all(data_.get(), out_.data(), 1)) return false;
    }
  }

  void reset(RawKind kind) override {
    message_ = kind == RawKind::kStream ? sizeof(std::uint64_t) : std::max<std::size_t>(size(), 1);
  }
  [[nodiscard]] bool stop() noexcept override {
    std::fill_n(in_.begin(), message_, std::byte{0});
    return send_all(data_.get(), in_.data(), message_);
  }
  [[nodiscard]] bool stream(std::size_t size, std::uint64_t count,
                            std::size_t window) noexcept override {
    const std::size_t stride = stream_stride(size);
    bool ok = send_all(data_.get(), reinterpret_cast<const std::byte*>(&count), sizeof(count));
    for (std::uint64_t i = 0; ok && i < count; ++i) {
      ok = send_all(data_.get(), in_.data() + i % window * stride, size);
    }
    return ok && receive_all<true>(data_.get(), out_.data(), 1);
  }

  base::Fd data_;              ///< This process's end.
  base::Fd servers_;           ///< The server's, until the fork is over.
  std::size_t message_ = 0;    ///< Bytes of a message, also of the one that ends.
  std::vector<std::byte> in_;  ///< In the client: what a stream sends.
  std::vector<std::byte> out_;
};

}  // namespace

extern const RawTransport raw_tcp{
    .transport = "tcp",
    .hot = "a bare TCP socket, both spinning",
    .warm = "as hot, the server sleeping in recv",
    .stream = "a bare TCP socket written without a pause, one answer",
    .stream_copies = false,
    .start = &RawTcp::start,
};

}  // namespace sublet::bench
