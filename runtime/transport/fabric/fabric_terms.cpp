#include <transport/common/await_fds.hpp>
#include <transport/fabric/fabric_terms.hpp>

#include <rdma/fi_errno.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace sublet::transport::fabric {
namespace {

constexpr std::size_t kPage = 4096;

/// Registered at first where registering pins: enough for most, little against a node's memory.
constexpr std::size_t kFirstPinned = std::size_t{64} << 20;

}  // namespace

std::size_t first_registration(const Endpoint& endpoint, std::size_t payload_size) {
  std::size_t first = endpoint.registering_pins() ? kFirstPinned : payload_size;
  if (const char* wanted = std::getenv("SUBLET_FABRIC_REGISTER")) {
    const std::string_view text(wanted);
    std::size_t bytes = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
    if (error == std::errc{} && end == text.data() + text.size()) first = std::max(bytes, kPage);
  }
  return std::min(first, payload_size);
}

std::size_t next_registration(std::size_t registered, std::size_t needed,
                              std::size_t payload_size) noexcept {
  // Doubling: few regions, whatever the sizes.
  return std::min(std::max(2 * registered, (needed + kPage - 1) / kPage * kPage), payload_size);
}

Result<void> prepare_memory(Side& side, std::size_t own_slot, std::size_t peer_slot,
                            std::byte* payload, std::size_t payload_size) {
  const std::size_t size = (side.slots * (own_slot + peer_slot) + kPage - 1) / kPage * kPage;
  auto rings = base::SharedMemory::create("sublet-fabric", size, base::SharedMemory::Pages::kSmall);
  if (!rings) return tl::unexpected<Error>(rings.error());
  side.rings = std::move(*rings);
  auto ring = side.endpoint->register_memory(side.rings.data(), size, FI_REMOTE_WRITE);
  if (!ring) return tl::unexpected<Error>(ring.error());
  side.ring_memory = std::move(*ring);
  auto memory = side.endpoint->register_memory(
      payload, first_registration(*side.endpoint, payload_size), FI_REMOTE_READ | FI_REMOTE_WRITE);
  if (!memory) return tl::unexpected<Error>(memory.error());
  side.payload_memory.push_back(std::move(*memory));
  return {};
}

Result<void> reach_worker(Side& side, std::chrono::steady_clock::time_point end) {
  if (side.endpoint->provider().kind == EndpointKind::kConnected) return {};
  MessageOperations operations;
  // Zeroes over the zeroes that begin the worker's ring.
  Message message;
  message.payload = side.rings.data();
  message.payload_size = sizeof(std::uint32_t);
  message.payload_descriptor = side.ring_memory.descriptor;
  message.payload_address = side.peer.ring.address;
  message.payload_key = side.peer.ring.key;
  message.operations = &operations;
  bool sent = false;
  while (!sent || operations.payload.under_way) {
    if (!sent) {
      const int error = side.endpoint->place(message);
      if (error != 0 && error != -FI_EAGAIN) {
        return fail(ErrorKind::kDisconnected,
                    "reaching the worker's endpoint: " + fabric_error(error));
      }
      sent = error == 0;
    }
    side.endpoint->progress([](std::uint32_t) noexcept {});
    if (side.endpoint->broken() || std::chrono::steady_clock::now() >= end) {
      // The provider uses `operations` until the endpoint is closed; what is registered goes first.
      side.payload_memory.clear();
      side.ring_memory = {};
      side.endpoint.reset();
      return fail(ErrorKind::kDisconnected, "the worker's endpoint did not answer in time");
    }
    // A provider need not tell of the steps of a connection.
    if (!sent || operations.payload.under_way) {
      await_fd(side.endpoint->wait_fd(), POLLIN, std::chrono::microseconds(100));
    }
  }
  return {};
}

Result<Keys> keys_of(const Side& side, std::size_t own_slot) {
  Keys keys{};
  keys.magic = kMagic;
  keys.ring = side.ring_memory.remote;
  keys.ring.address += side.slots * own_slot;
  keys.ring.size -= side.slots * own_slot;
  keys.payload = side.payload_memory.back().remote;
  if (side.endpoint->provider().kind == EndpointKind::kConnectionless) {
    const auto address = side.endpoint->address();
    if (!address) return tl::unexpected<Error>(address.error());
    keys.address_size = static_cast<std::uint16_t>(address->size());
    std::memcpy(keys.address.data(), address->data(), address->size());
  }
  return keys;
}

}  // namespace sublet::transport::fabric
