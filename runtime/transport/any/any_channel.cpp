#include <transport/any/any_channel.hpp>

#include <chrono>
#include <optional>

namespace sublet::transport {

Status AnyClientChannel::submit_remote(const Request& request, Ticket& ticket) noexcept {
  return visit(*this, [&](auto& c) { return c.submit(request, ticket); });
}

Status AnyClientChannel::poll_remote(Ticket ticket, ReplyView& reply) noexcept {
  return visit(*this, [&](auto& c) { return c.poll(ticket, reply); });
}

Status AnyClientChannel::call_remote(const Request& request, Ticket& ticket,
                                     ReplyView& reply) noexcept {
  return visit(*this, [&](auto& c) {
    const Status status = c.submit(request, ticket);
    return status == Status::kOk ? c.wait(ticket, reply, base::Deadline::none()) : status;
  });
}

Status AnyClientChannel::wait_remote(Ticket ticket, ReplyView& reply,
                                     base::Deadline deadline) noexcept {
  return visit(*this, [&](auto& c) { return c.wait(ticket, reply, deadline); });
}

namespace {

/// An attempt that has taken longer than it may, because this process was stopped meanwhile, is
/// made once more: what it waited for may have come during the stop, or come now.
template <class Row>
Result<typename Row::Client> connect_one(const ConnectOptions& options,
                                         const std::shared_ptr<Arena>& arena) {
  const auto start = std::chrono::steady_clock::now();
  auto channel = Row::connect(options, arena);
  const auto taken = std::chrono::steady_clock::now() - start;
  const bool late = !channel && channel.error().kind() == ErrorKind::kDisconnected &&
                    taken > options.timeout + std::chrono::milliseconds(100);
  return late ? Row::connect(options, arena) : std::move(channel);
}

template <class Row>
std::vector<Result<typename Row::Client>> connect_all(const std::vector<ConnectOptions>& options,
                                                      const std::shared_ptr<Arena>& arena) {
  if constexpr (requires { Row::connect_many(options, arena); }) {
    return Row::connect_many(options, arena);
  } else {
    std::vector<Result<typename Row::Client>> channels;
    channels.reserve(options.size());
    for (const ConnectOptions& one : options) channels.push_back(connect_one<Row>(one, arena));
    return channels;
  }
}

}  // namespace

std::vector<Result<AnyClientChannel>> connect(const std::vector<Target>& targets,
                                              const std::shared_ptr<Arena>& arena) {
  std::vector<std::optional<Result<AnyClientChannel>>> channels(targets.size());
  Transports::for_each([&]<class Row>(Kind kind) {
    std::vector<ConnectOptions> wanted;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      if (targets[i].kind != kind) continue;
      wanted.push_back(targets[i].options);
      places.push_back(i);
    }
    if (wanted.empty()) return;
    auto connected = connect_all<Row>(wanted, arena);
    for (std::size_t i = 0; i < places.size(); ++i) {
      auto& place = channels[places[i]];
      if (connected[i]) {
        place.emplace(AnyClientChannel(std::move(*connected[i])));
      } else {
        place.emplace(tl::unexpected<Error>(std::move(connected[i].error())));
      }
    }
  });
  std::vector<Result<AnyClientChannel>> results;
  results.reserve(channels.size());
  for (auto& channel : channels) results.push_back(std::move(*channel));
  return results;
}

}  // namespace sublet::transport
