#include <transport/any/any_channel.hpp>

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
    auto connected = Row::connect(wanted, arena);
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
