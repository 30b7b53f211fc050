#include <transport/common/introduction.hpp>
#include <transport/fabric/fabric_transport.hpp>

#include <algorithm>
#include <utility>

namespace sublet::transport::fabric {
namespace {

/// What the welcome says beside being one.
Result<void> check(const Welcome& welcome) {
  const auto kind = static_cast<EndpointKind>(welcome.kind);
  const bool known = kind == EndpointKind::kConnected || kind == EndpointKind::kConnectionless;
  if (known && welcome.address_size <= welcome.address.size()) return {};
  return fail(ErrorKind::kInvalid, "the executor's welcome is malformed");
}

Result<std::shared_ptr<const Provider>> provider_of(const Welcome& welcome) {
  const std::string name(welcome.provider.begin(),
                         std::find(welcome.provider.begin(), welcome.provider.end(), '\0'));
  const std::string wanted = wanted_provider();
  if (!wanted.empty() && wanted != name) {
    return fail(ErrorKind::kUnsupported, "SUBLET_FABRIC_PROVIDER is '" + wanted +
                                             "' here, and the executor uses '" + name +
                                             "'; set it alike on both nodes");
  }
  return find_provider(name, static_cast<EndpointKind>(welcome.kind), {});
}

Result<void> reach_peer(Endpoint& endpoint, const Welcome& welcome, const ConnectOptions& options,
                        TimePoint end) {
  const std::span<const std::byte> address(welcome.address.data(), welcome.address_size);
  if (endpoint.provider().kind == EndpointKind::kConnectionless) return endpoint.set_peer(address);
  if (auto started = endpoint.connect_to(address, welcome.nonce); !started) return started;
  for (;;) {
    const auto left = left_until(end);
    auto there = endpoint.connected(std::max(left, std::chrono::milliseconds(1)));
    if (!there) return tl::unexpected<Error>(there.error());
    if (*there) return {};
    if (left.count() == 0) {
      return tl::unexpected<Error>(not_answered(options, true));
    }
  }
}

}  // namespace

Result<ClientChannel> Transport::connect(const ConnectOptions& options,
                                         const std::shared_ptr<Arena>& arena) {
  if (auto good = check_slots(options.slots); !good) return tl::unexpected<Error>(good.error());
  const TimePoint end = std::chrono::steady_clock::now() + options.timeout;
  const Hello hello = greeting_for(kMagic, kVersion, options, arena->size());
  Welcome welcome{};
  auto link = introduce(options, bytes_of(hello), writable_bytes_of(welcome), end);
  if (!link) return tl::unexpected<Error>(link.error());
  if (auto good = check(welcome); !good) return tl::unexpected<Error>(good.error());
  auto provider = provider_of(welcome);
  if (!provider) return tl::unexpected<Error>(provider.error());

  Side side;
  side.slots = options.slots;
  side.link = std::make_shared<base::Fd>(std::move(*link));
  auto endpoint = Endpoint::open(std::move(*provider), options.slots);
  if (!endpoint) return tl::unexpected<Error>(endpoint.error());
  side.endpoint = std::move(*endpoint);
  Result<void> done = side.endpoint->create(nullptr);
  if (done) done = reach_peer(*side.endpoint, welcome, options, end);
  if (done) {
    done =
        prepare_memory(side, sizeof(RequestSlot), sizeof(ReplySlot), arena->data(), arena->size());
  }
  if (!done) return tl::unexpected<Error>(done.error());
  auto keys = keys_of(side, sizeof(RequestSlot));
  if (!keys) return tl::unexpected<Error>(keys.error());
  const int socket = side.link->get();
  if (!send_all(socket, bytes_of(*keys), end) ||
      receive_all(socket, writable_bytes_of(side.peer), end) != sizeof(side.peer)) {
    return tl::unexpected<Error>(not_answered(options, left_until(end).count() == 0));
  }
  if (side.peer.magic != kMagic || side.peer.ring.size < side.slots * sizeof(RequestSlot)) {
    return fail(ErrorKind::kInvalid, "the executor's keys are malformed");
  }
  if (auto reached = reach_worker(side, end); !reached) {
    return fail(ErrorKind::kDisconnected,
                "worker " + std::to_string(options.worker) + " at '" + options.address +
                    "' could not be connected: " + reached.error().what());
  }
  return ClientChannel(std::move(side), arena, options.wait, options.peer_gone);
}

}  // namespace sublet::transport::fabric
