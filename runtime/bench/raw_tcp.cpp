// PROTOCOL  A connection for data, and a pair of Unix sockets for orders. The server sleeps in a
//           receive of an order; it answers kReady, and from then on sends back every message of
//           that size, until one comes for which the stop word is set: that one it drops, and says
//           kAsleep. Data is bare: no header, no numbers.
//           A stream is one word, how many messages follow, then these, then one byte back; the
//           word 0 ends it.
// LIMITS    Messages up to the size it was made for. The client gives up on a server that does not
//           answer for kRawExchangeLimit; the server ends with the client (PR_SET_PDEATHSIG).

#include "raw_tcp.hpp"

#include "cpus.hpp"
#include <base/clock.hpp>
#include <base/unix_socket.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace sublet::bench {
namespace {

struct Order {
  RawKind kind;
  std::uint64_t size;
};

constexpr std::byte kReady{1};
constexpr std::byte kFallsAsleep{2};

/// Empty receives between two looks at the clock: some milliseconds, longer than any exchange, so
/// that no measured one pays for it.
constexpr std::uint32_t kReceivesPerCheck = 1u << 15;

using StopWord = std::atomic<std::uint32_t>;

StopWord& stop_word(const base::SharedMemory& memory) {
  return *reinterpret_cast<StopWord*>(memory.data());
}

/// Sends all of it; spins while the socket is full. False when the other end has gone.
bool send_all(int socket, const std::byte* data, std::size_t size) noexcept {
  while (size != 0) {
    const ssize_t n = ::send(socket, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (n <= 0) continue;
    data += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

/// Receives exactly so much: spinning, or blocked. False when the other end has gone, or (spinning)
/// says nothing for kRawExchangeLimit.
template <bool kSpins>
bool receive_all(int socket, std::byte* data, std::size_t size) noexcept {
  std::uint32_t empty = 0;
  base::Ticks waiting_since = 0;
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
    if (++empty % kReceivesPerCheck != 0) continue;
    const base::Ticks now = base::ticks();
    if (waiting_since == 0) waiting_since = now;
    if (now - waiting_since > base::TickRate::get().from(kRawExchangeLimit)) return false;
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

// ---- the server's side ----

struct Server {
  int data;
  int control;
  const StopWord* stop;
  std::vector<std::byte> request;
  std::vector<std::byte> reply;

  template <bool kSpins>
  bool serve(std::size_t size) {
    while (receive_all<kSpins>(data, request.data(), size)) {
      if (stop->load(std::memory_order_acquire) != 0) return true;
      std::memcpy(reply.data(), request.data(), size);
      if (!send_all(data, reply.data(), size)) return false;
    }
    // A hot one has waited for long: its client was stopped, or has died and will end this process.
    return false;
  }

  bool serve_stream(std::size_t size) {
    for (;;) {
      std::uint64_t count = 0;
      if (!receive_all<true>(data, reinterpret_cast<std::byte*>(&count), sizeof(count))) {
        return false;
      }
      if (count == 0) return true;
      for (; count != 0; --count) {
        if (!receive_all<true>(data, request.data(), size)) return false;
      }
      if (!send_all(data, &kReady, sizeof(kReady))) return false;
    }
  }

  bool obey(const Order& order) {
    switch (order.kind) {
      case RawKind::kHot:
        return serve<true>(order.size);
      case RawKind::kWarm:
        return serve<false>(order.size);
      case RawKind::kStream:
        return serve_stream(order.size);
      case RawKind::kLine:
        break;
    }
    return false;
  }

  void run() {
    for (;;) {
      Order order{};
      if (::recv(control, &order, sizeof(order), 0) != static_cast<ssize_t>(sizeof(order))) return;
      if (!say(kReady)) return;
      if (!obey(order) || !say(kFallsAsleep)) return;
    }
  }
  [[nodiscard]] bool say(std::byte word) const {
    return ::send(control, &word, 1, MSG_NOSIGNAL) == 1;
  }
};

}  // namespace

// ---- the client's side ----

Result<RawTcpExchange> RawTcpExchange::start(std::size_t max_size) {
  auto memory = base::SharedMemory::create("sublet-bench-tcp", sizeof(StopWord),
                                           base::SharedMemory::Pages::kSmall);
  if (!memory) return tl::unexpected<Error>(std::move(memory.error()));
  auto data = connect_loopback();
  if (!data) return tl::unexpected<Error>(std::move(data.error()));
  auto control = base::make_socketpair();
  if (!control) return tl::unexpected<Error>(std::move(control.error()));

  RawTcpExchange raw;
  raw.memory_ = std::move(*memory);
  raw.max_size_ = std::max<std::size_t>(max_size, 1);
  raw.data_ = std::move(data->first);
  raw.control_ = std::move(control->first);
  new (raw.memory_.data()) StopWord(0);
  Server server{data->second.get(), control->second.get(), &stop_word(raw.memory_),
                std::vector<std::byte>(raw.max_size_), std::vector<std::byte>(raw.max_size_)};
  auto process = HelperProcess::start([&] {
    raw.data_.reset();  // else it would hold up its own client's end
    raw.control_.reset();
    server.run();
  });
  if (!process) return tl::unexpected<Error>(std::move(process.error()));
  raw.server_ = std::move(*process);
  return raw;
}

Result<void> RawTcpExchange::pin_server(int cpu) {
  return pin(server_.pid(), cpu);
}

tl::unexpected<Error> RawTcpExchange::server_gone() const {
  return fail(ErrorKind::kInternal,
              // Its sockets close before it can be seen to have ended.
              !base::peer_has_closed(control_.get())
                  ? "the raw TCP exchange's server (process " + std::to_string(server_.pid()) +
                        ") does not answer; is it stopped, or its core taken?"
                  : std::string("the raw TCP exchange's server process has ended; it was killed"));
}

bool RawTcpExchange::server_answers(std::byte expected) noexcept {
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(kRawExchangeLimit);
  pollfd entry{control_.get(), POLLIN, 0};
  std::byte word{};
  return ::poll(&entry, 1, static_cast<int>(limit.count())) == 1 &&
         ::recv(control_.get(), &word, 1, MSG_DONTWAIT) == 1 && word == expected;
}

Result<void> RawTcpExchange::begin(RawKind kind, std::size_t size) {
  if (size > max_size_) return fail(ErrorKind::kInternal, "raw exchange larger than its area");
  if (kind == RawKind::kLine) return fail(ErrorKind::kInternal, "a socket has no bounced line");
  size_ = std::max<std::size_t>(size, 1);
  empty_ = size == 0;
  stop_word(memory_).store(0, std::memory_order_release);
  const Order order{kind, size_};
  if (kind == RawKind::kStream) size_ = sizeof(std::uint64_t);  // the word that ends it
  if (::send(control_.get(), &order, sizeof(order), MSG_NOSIGNAL) !=
          static_cast<ssize_t>(sizeof(order)) ||
      !server_answers(kReady)) {
    return server_gone();
  }
  return {};
}

Result<void> RawTcpExchange::end() {
  stop_word(memory_).store(1, std::memory_order_release);
  const std::vector<std::byte> last(size_);
  if (!send_all(data_.get(), last.data(), last.size()) || !server_answers(kFallsAsleep)) {
    return server_gone();
  }
  return {};
}

bool RawTcpExchange::exchange_hot(const std::byte* in, std::byte* out) noexcept {
  std::byte nothing{};
  if (empty_) in = out = &nothing;
  return send_all(data_.get(), in, size_) && receive_all<true>(data_.get(), out, size_);
}

Result<double> RawTcpExchange::write_bandwidth(std::size_t size, std::uint64_t count,
                                               std::size_t window) {
  const std::size_t stride = stream_stride(size);
  if (window * stride > max_size_) {
    return fail(ErrorKind::kInternal, "raw stream larger than its area");
  }
  stream_.resize(max_size_);
  const base::Ticks start = base::ticks();
  bool ok = send_all(data_.get(), reinterpret_cast<const std::byte*>(&count), sizeof(count));
  for (std::uint64_t i = 0; ok && i < count; ++i) {
    ok = send_all(data_.get(), stream_.data() + i % window * stride, size);
  }
  std::byte answer{};
  if (!ok || !receive_all<true>(data_.get(), &answer, sizeof(answer))) return server_gone();
  const auto ns = base::TickRate::get().to_ns(base::ticks() - start);
  return static_cast<double>(size * count) * 1e9 / static_cast<double>(ns);
}

bool RawTcpExchange::exchange_warm(const std::byte* in, std::byte* out) noexcept {
  return exchange_hot(in, out);  // what differs is how the server waits
}

}  // namespace sublet::bench
