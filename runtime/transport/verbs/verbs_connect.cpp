// The client's side of set-up.

#include <transport/verbs/verbs_devices.hpp>
#include <transport/verbs/verbs_setup.hpp>
#include <wire/limits.hpp>

#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>

namespace sublet::transport::verbs {
namespace {

using Clock = std::chrono::steady_clock;

/// One connection on its way: start() it, then step() whenever fd() is readable, until done().
class Connecting {
 public:
  Connecting(const ConnectOptions& options, std::shared_ptr<Arena> arena)
      : options_(options),
        arena_(std::move(arena)),
        addresses_(split_addresses(options.address)),
        end_(Clock::now() + options.timeout) {}

  void start() {
    if (!usable_slots(options_.slots, wire::kMaxSlots)) {
      return finish(fail(ErrorKind::kInvalid, "a channel has a power of two of slots up to " +
                                                  std::to_string(wire::kMaxSlots) +
                                                  "; asked for were " +
                                                  std::to_string(options_.slots)));
    }
    if (addresses_.empty()) return finish(fail(ErrorKind::kInvalid, "an empty RDMA address"));
    try_next_address();
  }

  [[nodiscard]] bool done() const noexcept { return result_.has_value(); }
  [[nodiscard]] Clock::time_point end() const noexcept { return end_; }
  [[nodiscard]] int fd() const noexcept { return events()->fd; }
  [[nodiscard]] Result<ClientChannel> result() && { return std::move(*result_); }

  void step() {
    rdma_cm_event* event = nullptr;
    while (!done() && rdma_get_cm_event(events(), &event) == 0) {
      const auto type = event->event;
      const int status = event->status;
      // Copied before the event is acknowledged and its memory goes.
      std::array<std::byte, sizeof(Rejection)> said{};
      const std::size_t size =
          event->param.conn.private_data == nullptr
              ? 0
              : std::min<std::size_t>(event->param.conn.private_data_len, said.size());
      if (carries_words(type) && size > 0) {
        std::memcpy(said.data(), event->param.conn.private_data, size);
      }
      rdma_ack_cm_event(event);
      handle(type, status,
             carries_words(type) ? std::span(said).first(size) : std::span<std::byte>());
    }
  }

  void give_up() {
    finish(fail(ErrorKind::kDisconnected,
                who() + " at '" + address() + "' did not answer a request to connect in time"));
  }

 private:
  static bool carries_words(rdma_cm_event_type type) {
    return type == RDMA_CM_EVENT_ESTABLISHED || type == RDMA_CM_EVENT_REJECTED;
  }
  [[nodiscard]] rdma_event_channel* events() const noexcept {
    return link_ ? link_->parts().events.get() : events_.get();
  }
  [[nodiscard]] rdma_cm_id* id() const noexcept {
    return link_ ? link_->parts().id.get() : id_.get();
  }
  [[nodiscard]] std::string who() const { return "worker " + std::to_string(options_.worker); }
  [[nodiscard]] const std::string& address() const { return addresses_[next_address_ - 1]; }

  void finish(Result<ClientChannel> result) {
    link_.reset();
    id_.reset();
    result_.emplace(std::move(result));
  }
  template <class E>
  void finish(tl::unexpected<E> error) {
    finish(Result<ClientChannel>(std::move(error)));
  }

  /// This address leads nowhere: the next one, or the end.
  void unreachable(ErrorKind kind, const std::string& text, int number = 0) {
    if (next_address_ < addresses_.size()) return try_next_address();
    const std::string cause =
        number == 0 ? std::string() : std::string(": ") + std::strerror(number);
    finish(fail(kind, "connecting to " + who() + " at '" + options_.address + "': " + text + cause,
                number));
  }

  void try_next_address() {
    link_.reset();
    id_.reset();
    ++next_address_;
    auto target = SocketAddress::parse(address());
    if (!target) {
      return finish(fail(ErrorKind::kInvalid, "'" + address() +
                                                  "' is no address: an IP address, a "
                                                  "colon and a port are wanted"));
    }
    auto events = make_event_channel();
    if (!events) return finish(tl::unexpected<Error>(std::move(events.error())));
    events_ = std::move(*events);
    rdma_cm_id* made = nullptr;
    if (rdma_create_id(events_.get(), &made, nullptr, RDMA_PS_TCP) != 0) {
      return finish(verbs_error(ErrorKind::kUnsupported, "making a connection identifier", errno));
    }
    id_.reset(made);
    const auto left = static_cast<int>(left_until(end_).count());
    if (rdma_resolve_addr(id_.get(), nullptr, target->get(), std::max(left, 1)) != 0) {
      no_way(errno);
    }
  }

  void no_way(int number) {
    if (const std::string why = why_unavailable(); !why.empty()) {
      return unreachable(ErrorKind::kUnsupported, why);
    }
    const bool none = number == ENODEV || number == EADDRNOTAVAIL;
    unreachable(none ? ErrorKind::kUnsupported : ErrorKind::kDisconnected,
                "no RDMA device of this machine leads there", number);
  }

  void handle(rdma_cm_event_type type, int status, std::span<const std::byte> said) {
    switch (type) {
      case RDMA_CM_EVENT_ADDR_RESOLVED: {
        std::uint8_t timeout = kAckTimeout;
        // Old kernels do not know it and have a longer one.
        (void)rdma_set_option(id(), RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &timeout,
                              sizeof(timeout));
        const auto left = static_cast<int>(left_until(end_).count());
        if (rdma_resolve_route(id(), std::max(left, 1)) != 0) no_way(errno);
        return;
      }
      case RDMA_CM_EVENT_ROUTE_RESOLVED:
        if (auto sent = request(); !sent) finish(tl::unexpected<Error>(std::move(sent.error())));
        return;
      case RDMA_CM_EVENT_ESTABLISHED:
        return welcomed(said);
      case RDMA_CM_EVENT_REJECTED:
        return rejected(said, status);
      case RDMA_CM_EVENT_ADDR_ERROR:
      case RDMA_CM_EVENT_ROUTE_ERROR:
        return no_way(-status);
      case RDMA_CM_EVENT_UNREACHABLE:
      case RDMA_CM_EVENT_CONNECT_ERROR:
      case RDMA_CM_EVENT_DISCONNECTED:
      case RDMA_CM_EVENT_DEVICE_REMOVAL:
        return unreachable(ErrorKind::kDisconnected, rdma_event_str(type),
                           status < 0 ? -status : 0);
      default:
        return;
    }
  }

  Result<void> request() {
    ibv_context* device = id()->verbs;
    const QueueDepths depths = QueueDepths::of(options_.slots);
    ClientParts parts;
    auto domain = ArenaDomain::of(arena_, device);
    if (!domain) return tl::unexpected<Error>(std::move(domain.error()));
    parts.domain = std::move(*domain);
    auto part = parts.domain->covering(0);
    if (!part) return tl::unexpected<Error>(std::move(part.error()));
    parts.part = std::move(*part);
    auto memory = Registered::make(parts.domain->domain(), "sublet-verbs-client",
                                   ClientLayout{options_.slots}.size(),
                                   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    if (!memory) return tl::unexpected<Error>(std::move(memory.error()));
    parts.memory = std::move(*memory);
    auto completions = Completions::of_this_thread(device, depths);
    if (!completions) return tl::unexpected<Error>(std::move(completions.error()));
    parts.completions = std::move(*completions);
    parts.inline_bytes = std::min(max_inline(device), kInlineWanted);
    parts.events = std::move(events_);
    parts.id = std::move(id_);

    Hello hello{};
    hello.magic = kMagic;
    hello.version = kVersion;
    hello.slots = static_cast<std::uint16_t>(options_.slots);
    hello.token = options_.token;
    hello.arena_size = arena_->size();
    hello.replies_address = reinterpret_cast<std::uintptr_t>(parts.memory.data()) +
                            ClientLayout{options_.slots}.replies();
    hello.replies_rkey = parts.memory.region->rkey;
    hello.worker = options_.worker;
    link_ = std::make_unique<ClientLink>(std::move(parts), arena_, options_.slots, options_.wait,
                                         options_.peer_gone);
    if (auto made = link_->make_queue_pair(); !made) return made;
    rdma_conn_param parameters{};
    parameters.private_data = &hello;
    parameters.private_data_len = sizeof(hello);
    parameters.responder_resources = kReadsUnderWay;  // the worker reads, we do not
    parameters.initiator_depth = 1;
    parameters.retry_count = kRetries;
    parameters.rnr_retry_count = kReceiverNotReadyRetries;
    if (rdma_connect(id(), &parameters) != 0) {
      return verbs_error(ErrorKind::kDisconnected, "asking " + who() + " for a connection", errno);
    }
    return {};
  }

  void welcomed(std::span<const std::byte> said) {
    Welcome welcome{};
    if (said.size() >= sizeof(welcome)) std::memcpy(&welcome, said.data(), sizeof(welcome));
    if (welcome.magic != kMagic) {
      return finish(
          fail(ErrorKind::kInvalid, "what listens at '" + address() + "' is no executor"));
    }
    link_->connected(welcome);
    result_.emplace(ClientChannel(std::move(link_)));
  }

  void rejected(std::span<const std::byte> said, int status) {
    Rejection rejection{};
    if (said.size() >= sizeof(rejection)) std::memcpy(&rejection, said.data(), sizeof(rejection));
    if (rejection.magic != kMagic) {
      return unreachable(ErrorKind::kDisconnected,
                         "nothing listens there (rejection " + std::to_string(status) + ")");
    }
    rejection.text.back() = '\0';
    finish(fail(ErrorKind::kDenied, who() + " refused the connection: " + rejection.text.data()));
  }

  ConnectOptions options_;
  std::shared_ptr<Arena> arena_;
  std::vector<std::string> addresses_;
  std::size_t next_address_ = 0;
  Clock::time_point end_;
  // The channel outlives its identifier.
  EventChannel events_;
  ConnectionId id_;
  std::unique_ptr<ClientLink> link_;
  std::optional<Result<ClientChannel>> result_;
};

}  // namespace

std::vector<std::string> split_addresses(const std::string& list) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  while (start <= list.size()) {
    const std::size_t comma = std::min(list.find(',', start), list.size());
    if (comma > start) parts.push_back(list.substr(start, comma - start));
    start = comma + 1;
  }
  return parts;
}

std::optional<SocketAddress> SocketAddress::parse(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  std::string host = text.substr(0, colon);
  const std::string port = text.substr(colon + 1);
  if (port.empty() || port.size() > 5 ||
      port.find_first_not_of("0123456789") != std::string::npos || std::stoul(port) > 65535) {
    return std::nullopt;
  }
  const auto number = htons(static_cast<std::uint16_t>(std::stoul(port)));
  SocketAddress address;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    auto& v6 = *reinterpret_cast<sockaddr_in6*>(&address.storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = number;
    host = host.substr(1, host.size() - 2);
    if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1) return std::nullopt;
  } else {
    auto& v4 = *reinterpret_cast<sockaddr_in*>(&address.storage);
    v4.sin_family = AF_INET;
    v4.sin_port = number;
    if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) != 1) return std::nullopt;
  }
  return address;
}

std::vector<Result<ClientChannel>> connect_many(std::span<const ConnectOptions> options,
                                                const std::shared_ptr<Arena>& arena) {
  std::deque<Connecting> all;  // at places that stay
  for (const ConnectOptions& one : options) all.emplace_back(one, arena).start();
  std::vector<pollfd> fds;
  std::vector<Connecting*> open;
  for (;;) {
    fds.clear();
    open.clear();
    auto first_end = Clock::time_point::max();
    for (Connecting& one : all) {
      if (!one.done() && one.end() <= Clock::now()) one.give_up();
      if (one.done()) continue;
      fds.push_back({one.fd(), POLLIN, 0});
      open.push_back(&one);
      first_end = std::min(first_end, one.end());
    }
    if (open.empty()) break;
    ::poll(fds.data(), fds.size(), static_cast<int>(left_until(first_end).count()));
    for (std::size_t i = 0; i < open.size(); ++i) {
      if (fds[i].revents != 0) open[i]->step();
    }
  }
  std::vector<Result<ClientChannel>> results;
  results.reserve(all.size());
  for (Connecting& one : all) results.push_back(std::move(one).result());
  return results;
}

Result<ClientChannel> connect(const ConnectOptions& options, const std::shared_ptr<Arena>& arena) {
  auto results = connect_many({&options, 1}, arena);
  return std::move(results.front());
}

}  // namespace sublet::transport::verbs
