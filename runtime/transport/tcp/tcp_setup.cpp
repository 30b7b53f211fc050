#include <transport/tcp/tcp_setup.hpp>
#include <wire/limits.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sublet::transport::tcp {

static_assert(transport::NetworkListener<Listener, ServerChannel>);

namespace {

using Time = std::chrono::steady_clock::time_point;

/// The socket is fresh: so little always fits. False when the connection has ended.
template <class Message>
[[nodiscard]] bool say(int socket, const Message& message) {
  return ::send(socket, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(sizeof(message));
}

void refuse(int socket, Status status, const std::string& text) {
  Welcome welcome{};
  welcome.magic = kWelcomeMagic;
  welcome.status = static_cast<std::uint8_t>(status);
  std::strncpy(welcome.text.data(), text.c_str(), welcome.text.size() - 1);
  // The client may be gone already; then nobody needs the reason.
  (void)say(socket, welcome);
}

/// Receives the Welcome. How many bytes of it came before `end`.
std::size_t hear(int socket, Welcome& welcome, Time end) {
  std::size_t received = 0;
  while (received < sizeof(welcome)) {
    std::size_t came = 0;
    const Status status = receive_some(socket, reinterpret_cast<std::byte*>(&welcome) + received,
                                       sizeof(welcome) - received, came);
    received += came;
    if (status == Status::kLost) break;
    if (status == Status::kOk) continue;
    const auto left = left_until(end);
    if (left.count() == 0) break;
    await_socket(socket, POLLIN, left);
  }
  return received;
}

}  // namespace

Result<ClientChannel> connect(const ConnectOptions& options, std::shared_ptr<Arena> arena) {
  if (!usable_slots(options.slots, wire::kMaxSlots)) {
    return fail(ErrorKind::kInvalid, "a channel has a power of two of slots up to " +
                                         std::to_string(wire::kMaxSlots) + "; asked for were " +
                                         std::to_string(options.slots));
  }
  const auto address = parse_address(options.address);
  if (!address) return tl::unexpected<Error>(address.error());
  const Time end = std::chrono::steady_clock::now() + options.timeout;
  auto socket = connect_to(*address, end);
  if (!socket) return tl::unexpected<Error>(socket.error());
  if (auto prepared = prepare(socket->get(), options.peer_timeout); !prepared) {
    return tl::unexpected<Error>(prepared.error());
  }
  Stream stream(std::move(*socket));
  const std::string worker = "worker " + std::to_string(options.worker);
  Hello hello{};
  hello.magic = kHelloMagic;
  hello.version = kVersion;
  hello.token = options.token;
  hello.worker = options.worker;
  hello.slots = options.slots;
  hello.arena_size = arena->size();
  Welcome welcome{};
  const std::size_t received =
      say(stream.fd(), hello) ? hear(stream.fd(), welcome, end) : std::size_t{0};
  if (received >= sizeof(welcome.magic) && welcome.magic != kWelcomeMagic) {
    return fail(ErrorKind::kInvalid, "what listens at '" + options.address + "' is no executor");
  }
  if (received != sizeof(welcome)) {
    const bool late = std::chrono::steady_clock::now() >= end;
    return fail(ErrorKind::kDisconnected,
                late ? worker + " at '" + options.address +
                           "' did not answer a request to connect in time; is its executor stopped?"
                     : "the executor at '" + options.address + "' ended while " + worker +
                           " was being connected");
  }
  welcome.text.back() = '\0';
  if (static_cast<Status>(welcome.status) != Status::kOk) {
    return fail(ErrorKind::kDenied, worker + " refused the connection: " + welcome.text.data());
  }
  end_abruptly(stream.fd());
  ClientTerms terms;
  terms.slots = options.slots;
  terms.wait = options.wait;
  terms.peer_gone = options.peer_gone;
  terms.peer_timeout = options.peer_timeout;
  return ClientChannel(std::move(stream), std::move(arena), std::move(terms));
}

Result<std::unique_ptr<Listener>> Listener::open(const ListenOptions& options,
                                                 const std::string& host) {
  auto socket = listen_on(host);
  if (!socket) return tl::unexpected<Error>(socket.error());
  auto address = address_of(socket->get());
  if (!address) return tl::unexpected<Error>(address.error());
  return std::make_unique<Listener>(std::move(*socket), std::move(*address), options);
}

Listener::Listener(base::Fd socket, std::string address, const ListenOptions& options)
    : socket_(std::move(socket)), address_(std::move(address)), options_(options) {}

void Listener::append_poll_fds(std::vector<pollfd>& fds) const {
  const bool accepting =
      pending_.size() < kMaxPending && std::chrono::steady_clock::now() >= accept_after_;
  if (accepting) fds.push_back({socket_.get(), POLLIN, 0});
  for (const Pending& pending : pending_) fds.push_back({pending.socket.get(), POLLIN, 0});
  for (const Connection& connection : connections_) {
    fds.push_back({connection.stream->fd(), POLLRDHUP, 0});
  }
}

int Listener::poll_timeout_ms() const {
  Time first = accept_after_ == Time{} ? Time::max() : accept_after_;
  for (const Pending& pending : pending_) first = std::min(first, pending.deadline);
  if (!connections_.empty()) first = std::min(first, check_links_at_);
  return first == Time::max() ? -1 : static_cast<int>(left_until(first).count());
}

void Listener::service(const MayTake& may_take, const Accepted& accepted, const Ended& ended) {
  // Clients that have gone before new ones: one that connects again finds its worker free.
  const Time now = std::chrono::steady_clock::now();
  drop_ended(now, ended);
  accept_all(now);
  std::erase_if(pending_, [&](Pending& pending) {
    if (greet(pending, may_take, accepted, ended)) return true;
    if (now < pending.deadline) return false;
    refuse(pending.socket.get(), Status::kDenied, "no greeting came in time");
    return true;
  });
}

void Listener::drop_ended(Time now, const Ended& ended) {
  if (connections_.empty()) return;
  polled_.clear();
  for (const Connection& connection : connections_) {
    polled_.push_back({connection.stream->fd(), POLLRDHUP, 0});
  }
  const bool check_links = now >= check_links_at_;
  if (check_links) check_links_at_ = now + tuning::kLinkCheck;
  if (::poll(polled_.data(), polled_.size(), 0) <= 0 && !check_links) return;
  std::vector<std::uint32_t> workers;
  std::size_t i = 0;
  std::erase_if(connections_, [&](Connection& connection) {
    const pollfd& polled = polled_[i++];
    if (polled.revents == 0 && !(check_links && connection.watch.cut_off(polled.fd, now))) {
      return false;
    }
    workers.push_back(connection.worker);
    return true;
  });
  // This side's share of them is gone by now: who hears of an end may count descriptors.
  for (const std::uint32_t worker : workers) ended(worker);
}

void Listener::accept_all(Time now) {
  accept_after_ = {};
  while (pending_.size() < kMaxPending) {
    base::Fd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.valid()) {
      pending_.push_back({std::move(socket), now + kHelloTimeout});
      continue;
    }
    // Of those named last accept(2) says that they belong to the connection, not to the listener.
    const bool gone = errno == ECONNABORTED || errno == EINTR || errno == EPROTO ||
                      errno == ENETDOWN || errno == EHOSTDOWN || errno == EHOSTUNREACH ||
                      errno == ENETUNREACH;
    if (gone) continue;
    // Out of descriptors or memory: the connection waits, and its socket stays ready meanwhile.
    if (errno != EAGAIN && errno != EWOULDBLOCK) accept_after_ = now + kAcceptPause;
    return;
  }
}

bool Listener::greet(Pending& pending, const MayTake& may_take, const Accepted& accepted,
                     const Ended& ended) {
  const int socket = pending.socket.get();
  // Not a byte more than the Hello: what follows is for the worker.
  while (pending.received < sizeof(Hello)) {
    std::size_t came = 0;
    const Status status = receive_some(socket, pending.hello.data() + pending.received,
                                       sizeof(Hello) - pending.received, came);
    if (status == Status::kLost) return true;
    if (status == Status::kAgain) return false;
    pending.received += came;
  }
  Hello hello;
  std::memcpy(&hello, pending.hello.data(), sizeof(hello));
  if (hello.magic != kHelloMagic) {
    refuse(socket, Status::kInvalid, "the greeting is malformed");
    return true;
  }
  const Wish wish{hello.version, hello.token, hello.worker, hello.slots, hello.arena_size};
  if (const auto refusal = why_refused(wish, kVersion, options_, may_take)) {
    refuse(socket, refusal->status, refusal->text);
    return true;
  }
  welcome(pending, hello, accepted, ended);
  return true;
}

void Listener::welcome(Pending& pending, const Hello& hello, const Accepted& accepted,
                       const Ended& ended) {
  const int socket = pending.socket.get();
  if (auto prepared = prepare(socket, options_.peer_timeout); !prepared) {
    refuse(socket, Status::kInvalid, prepared.error().what());
    return;
  }
  Welcome welcome{};
  welcome.magic = kWelcomeMagic;
  welcome.status = static_cast<std::uint8_t>(Status::kOk);
  if (!say(socket, welcome)) return;
  // The worker is free, so a connection it still has here ended just now.
  const auto old = std::find_if(connections_.begin(), connections_.end(),
                                [&](const Connection& c) { return c.worker == hello.worker; });
  if (old != connections_.end()) {
    connections_.erase(old);
    ended(hello.worker);
  }
  if (connections_.empty()) {
    check_links_at_ = std::chrono::steady_clock::now() + tuning::kLinkCheck;
  }
  auto stream = std::make_shared<const Stream>(std::move(pending.socket));
  connections_.push_back({hello.worker, stream, LinkWatch(options_.peer_timeout)});
  accepted(hello.worker,
           std::make_unique<ServerChannel>(std::move(stream), ServerTerms{hello.arena_size}));
}

}  // namespace sublet::transport::tcp
