#include <base/log.hpp>
#include <transport/fabric/fabric_setup.hpp>
#include <wire/limits.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace sublet::transport::fabric {
namespace {

template <class T>
std::span<std::byte> bytes_of(T& value) {
  return std::as_writable_bytes(std::span<T, 1>(&value, 1));
}

Result<void> disconnected(const ConnectOptions& options, const std::string& why) {
  return fail(ErrorKind::kDisconnected, "worker " + std::to_string(options.worker) + " at " +
                                            options.address + " could not be connected: " + why);
}

/// The executor's answer, checked.
Result<Welcome> be_welcomed(int link, const ConnectOptions& options, std::uint64_t arena_size,
                            TimePoint end) {
  Hello hello{};
  hello.magic = kMagic;
  hello.version = kVersion;
  hello.token = options.token;
  hello.worker = options.worker;
  hello.slots = options.slots;
  hello.arena_size = arena_size;
  Welcome welcome{};
  auto done = send_all(link, bytes_of(hello), end);
  if (done) done = receive_all(link, bytes_of(welcome), end);
  if (!done) {
    return tl::unexpected<Error>(disconnected(options, done.error().what()).error());
  }
  if (welcome.magic != kMagic) {
    return fail(ErrorKind::kInvalid, "what listens at " + options.address + " is no executor");
  }
  welcome.text.back() = '\0';
  welcome.provider.back() = '\0';
  if (static_cast<Status>(welcome.status) != Status::kOk) {
    return fail(ErrorKind::kDenied, "worker " + std::to_string(options.worker) +
                                        " refused the connection: " + welcome.text.data());
  }
  const auto kind = static_cast<EndpointKind>(welcome.kind);
  const bool known = kind == EndpointKind::kConnected || kind == EndpointKind::kConnectionless;
  if (!known || welcome.address_size > welcome.address.size()) {
    return fail(ErrorKind::kInvalid, "the executor's welcome is malformed");
  }
  return welcome;
}

Result<std::shared_ptr<const Provider>> provider_of(const Welcome& welcome) {
  const std::string name = welcome.provider.data();
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
      return disconnected(options, "the endpoint's connection took too long");
    }
  }
}

}  // namespace

Result<ClientChannel> connect(const ConnectOptions& options, std::shared_ptr<Arena> arena) {
  if (!usable_slots(options.slots, wire::kMaxSlots)) {
    return fail(ErrorKind::kInvalid, "a channel has a power of two of slots up to " +
                                         std::to_string(wire::kMaxSlots) + "; asked for were " +
                                         std::to_string(options.slots));
  }
  const TimePoint end = std::chrono::steady_clock::now() + options.timeout;
  auto link = connect_link(options.address, end);
  if (!link) return tl::unexpected<Error>(link.error());
  auto welcome = be_welcomed(link->get(), options, arena->size(), end);
  if (!welcome) return tl::unexpected<Error>(welcome.error());
  auto provider = provider_of(*welcome);
  if (!provider) return tl::unexpected<Error>(provider.error());

  Side side;
  side.slots = options.slots;
  side.link = std::make_shared<base::Fd>(std::move(*link));
  auto endpoint = Endpoint::open(std::move(*provider), options.slots);
  if (!endpoint) return tl::unexpected<Error>(endpoint.error());
  side.endpoint = std::move(*endpoint);
  Result<void> done = side.endpoint->create(nullptr);
  if (done) done = reach_peer(*side.endpoint, *welcome, options, end);
  if (done) {
    done =
        prepare_memory(side, sizeof(RequestSlot), sizeof(ReplySlot), arena->data(), arena->size());
  }
  if (!done) return tl::unexpected<Error>(done.error());
  auto keys = keys_of(side, sizeof(RequestSlot));
  if (!keys) return tl::unexpected<Error>(keys.error());
  done = send_all(side.link->get(), bytes_of(*keys), end);
  if (done) done = receive_all(side.link->get(), bytes_of(side.peer), end);
  if (!done) {
    return tl::unexpected<Error>(disconnected(options, done.error().what()).error());
  }
  if (side.peer.magic != kMagic || side.peer.ring.size < side.slots * sizeof(RequestSlot)) {
    return fail(ErrorKind::kInvalid, "the executor's keys are malformed");
  }
  done = reach_worker(side, end);
  if (!done) return tl::unexpected<Error>(disconnected(options, done.error().what()).error());
  return ClientChannel(std::move(side), std::move(arena), options.wait, options.peer_gone);
}

}  // namespace sublet::transport::fabric
