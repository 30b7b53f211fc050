#include <transport/any_channel.hpp>
#include <transport/fabric/fabric_devices.hpp>
#include <transport/verbs/verbs_devices.hpp>

#include <algorithm>

namespace sublet::transport {
namespace {

template <class Channel>
Result<AnyClientChannel> erase(Result<Channel> channel) {
  if (!channel) return tl::unexpected<Error>(std::move(channel.error()));
  return AnyClientChannel(std::move(*channel));
}

std::string names_of(const std::vector<Kind>& kinds) {
  std::string text;
  for (const Kind kind : kinds) text += (text.empty() ? "" : ", ") + std::string(to_string(kind));
  return text;
}

Result<AnyClientChannel> connect_one(Kind kind, const ConnectOptions& options,
                                     std::shared_ptr<Arena> arena) {
  switch (kind) {
    case Kind::kShm:
      return erase(shm::connect(options, std::move(arena)));
    case Kind::kTcp:
      return erase(tcp::connect(options, std::move(arena)));
    case Kind::kFabric:
      return erase(fabric::connect(options, std::move(arena)));
    case Kind::kVerbs:
      return erase(verbs::connect(options, arena));
  }
  return fail(ErrorKind::kUnsupported,
              std::string("this build cannot connect by transport ") + to_string(kind));
}

}  // namespace

Result<Preference> prefer(bool same_node, const std::string& wanted) {
  if (!wanted.empty()) {
    const auto kind = wire::transport_named(wanted);
    if (!kind) {
      return fail(ErrorKind::kInvalid,
                  "there is no transport '" + wanted + "'; there are " +
                      names_of({wire::kAllTransports.begin(), wire::kAllTransports.end()}));
    }
    if (*kind == Kind::kShm && !same_node) {
      return fail(ErrorKind::kUnsupported,
                  "transport shm was asked for, and the executor is on another node");
    }
    return Preference{{*kind}, std::string(to_string(*kind)) + ": asked for by name"};
  }
  if (same_node) return Preference{{Kind::kShm}, "shm: the executor is on this node"};
  Preference preference;
  preference.reasons = "not shm: the executor is on another node";
  if (const std::string why_not = verbs::why_unavailable(); why_not.empty()) {
    preference.kinds.push_back(Kind::kVerbs);
    preference.reasons += "; verbs: this node has an active RDMA port";
  } else {
    preference.reasons += "; not verbs: " + why_not;
  }
  if (fabric::has_own_fabric()) {
    preference.kinds.push_back(Kind::kFabric);
    preference.reasons += "; fabric: libfabric has a network of its own here";
  } else {
    preference.reasons += "; not fabric: libfabric has no network of its own here";
  }
  preference.kinds.push_back(Kind::kTcp);
  preference.reasons += "; tcp: for plain Ethernet";
  return preference;
}

Result<Endpoint::Address> choose(const Endpoint& endpoint, const Preference& preference) {
  for (const Kind kind : preference.kinds) {
    const auto found =
        std::find_if(endpoint.addresses.begin(), endpoint.addresses.end(),
                     [&](const Endpoint::Address& address) { return address.kind == kind; });
    if (found != endpoint.addresses.end()) return *found;
  }
  std::string text = "this process would use " + names_of(preference.kinds) + " (" +
                     preference.reasons + "), and the executor takes none of it";
  for (const std::string& refusal : endpoint.refusals) text += "; " + refusal;
  return fail(ErrorKind::kUnsupported, text);
}

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
  std::vector<Result<AnyClientChannel>> channels;
  channels.reserve(targets.size());
  // Setting a queue pair up takes round trips through two connection managers.
  std::vector<ConnectOptions> queue_pairs;
  for (const Target& target : targets) {
    if (target.kind == Kind::kVerbs) queue_pairs.push_back(target.options);
  }
  auto connected = verbs::connect_many(queue_pairs, arena);
  auto next = connected.begin();
  for (const Target& target : targets) {
    if (target.kind == Kind::kVerbs) {
      channels.push_back(erase(std::move(*next++)));
    } else {
      channels.push_back(connect_one(target.kind, target.options, arena));
    }
  }
  return channels;
}

}  // namespace sublet::transport
