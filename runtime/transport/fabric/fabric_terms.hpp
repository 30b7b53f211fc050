#pragma once

#include <base/fd.hpp>
#include <base/shared_memory.hpp>
#include <transport/fabric/fabric_endpoint.hpp>
#include <transport/fabric/fabric_wire.hpp>

#include <chrono>
#include <memory>
#include <vector>

namespace sublet::transport::fabric {

/// What both ends of a channel hold, made by the set-up.
struct Side {
  std::uint32_t slots = 0;
  /// Shared with the executor's main thread, which watches it.
  std::shared_ptr<base::Fd> link;
  /// The slots that this side writes from and those the peer writes to, one after the other. Before
  /// the endpoint: it is closed first.
  base::SharedMemory rings;
  std::unique_ptr<Endpoint> endpoint;
  Registration ring_memory;
  /// What is registered of the arena or mirror: the last one counts, the peer may still use the
  /// ones before.
  std::vector<Registration> payload_memory;
  Keys peer{};

  Side() = default;
  Side(Side&&) = default;
  Side& operator=(Side&&) = delete;
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;
  ~Side() = default;

  [[nodiscard]] bool has_endpoint() const noexcept { return endpoint != nullptr; }
};

/// How much of a side's payload memory is registered from the start: all of it, unless registering
/// pins; SUBLET_FABRIC_REGISTER says otherwise, in bytes.
std::size_t first_registration(const Endpoint& endpoint, std::size_t payload_size);

/// How much to register when `needed` bytes from the start must be.
std::size_t next_registration(std::size_t registered, std::size_t needed,
                              std::size_t payload_size) noexcept;

/// Makes and registers the rings of a side and registers its payload memory.
Result<void> prepare_memory(Side& side, std::size_t own_slot, std::size_t peer_slot,
                            std::byte* payload, std::size_t payload_size);

/// The client's last step of set-up: returns once the worker's endpoint has answered. A provider
/// without connections makes one of its own for the first message, to which the peer has to
/// contribute; no call should have to wait for that. kDisconnected when it takes until `end`.
Result<void> reach_worker(Side& side, std::chrono::steady_clock::time_point end);

/// What a side tells its peer.
Result<Keys> keys_of(const Side& side, std::size_t own_slot);

}  // namespace sublet::transport::fabric
