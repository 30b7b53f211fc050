// The client's side of set-up.

#include <transport/common/tcp_socket.hpp>
#include <transport/verbs/verbs_devices.hpp>
#include <transport/verbs/verbs_transport.hpp>

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
        addresses_(base::split_list(options.address)),
        end_(Clock::now() + options.timeout) {}

  void start() {
    if (auto good = check_slots(options_.slots); !good) {
      return finish(tl::unexpected<Error>(std::move(good.error())));
    }
    if (addresses_.empty()) return finish(fail(ErrorKind::kInvalid, "an empty RDMA address"));
    try_next_address();
  }

  [[nodiscard]] bool done() const noexcept { return result_.has_value(); }
  [[nodiscard]] Clock::time_point end() const noexcept { return end_; }
  [[nodiscard]] int fd() const noexcept { return events()->fd; }
  [[nodiscard]] Result<ClientChannel> result() && { return std::move(*result_); }

  void step() {
    while (!done()) {
      ConnectionEvent event = next_event(events());
      if (!event) return;
      const auto type = event->event;
      const int status = event->status;
      // Copied before the event is acknowledged and its memory goes.
      std::array<std::byte, sizeof(Rejection)> said{};
      std::size_t size = 0;
      if (carries_words(type) && event->param.conn.private_data != nullptr) {
        size = std::min<std::size_t>(event->param.conn.private_data_len, said.size());
        std::memcpy(said.data(), event->param.conn.private_data, size);
      }
      event.reset();
      handle(type, status, std::span(said).first(size));
    }
  }

  void give_up() { finish(tl::unexpected<Error>(not_answered(options_, true))); }

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
    const auto parsed = executor_at(address());
    if (!parsed) return finish(tl::unexpected<Error>(parsed.error()));
    auto target = SocketAddress::numeric(parsed->host, parsed->port);
    if (!target) {
      return finish(fail(ErrorKind::kInvalid,
                         "'" + address() + "' has no IP address, as RDMA connections need it"));
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
        std::uint8_t timeout = ack_timeout_for(options_.peer_timeout);
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
    static_cast<Greeting&>(hello) = greeting_for(kMagic, kVersion, options_, arena_->size());
    greeting_ = hello;
    hello.replies_address = reinterpret_cast<std::uintptr_t>(parts.memory.data()) +
                            ClientLayout{options_.slots}.replies();
    hello.replies_rkey = parts.memory.region->rkey;
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
    if (auto error = error_in(options_, greeting_, {welcome.magic, Status::kOk, welcome.proof})) {
      return finish(tl::unexpected<Error>(std::move(*error)));
    }
    if (!welcome.is_sane()) {
      return unreachable(ErrorKind::kDisconnected, "the executor's answer is malformed");
    }
    link_->connected(welcome);
    result_.emplace(ClientChannel(std::move(link_)));
  }

  void rejected(std::span<const std::byte> said, int status) {
    Rejection rejection{};
    if (said.size() >= sizeof(rejection)) std::memcpy(&rejection, said.data(), sizeof(rejection));
    const bool by_executor = rejection.magic == kAnswerMagic && rejection.status != 0;
    if (!by_executor) {
      return unreachable(ErrorKind::kDisconnected,
                         "nothing listens there (rejection " + std::to_string(status) + ")");
    }
    finish(tl::unexpected<Error>(std::move(*error_in(options_, greeting_, rejection))));
  }

  ConnectOptions options_;
  Greeting greeting_{};
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

std::vector<Result<ClientChannel>> Transport::connect_many(std::span<const ConnectOptions> options,
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

Result<ClientChannel> Transport::connect(const ConnectOptions& options,
                                         const std::shared_ptr<Arena>& arena) {
  return std::move(connect_many({&options, 1}, arena).front());
}

}  // namespace sublet::transport::verbs
