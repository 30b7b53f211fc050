#pragma once

#include <base/fd.hpp>
#include <base/shared_memory.hpp>
#include <sublet/result.hpp>
#include <transport/verbs/verbs_objects.hpp>
#include <transport/verbs/verbs_wire.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace sublet::transport::verbs {

/// What a listener and its channels share: the connection manager's events, and a way for a worker
/// to tell the main thread.
struct ServerHub {
  EventChannel events;
  base::Fd kick;  ///< An eventfd.
};

/// A client's connection. Owner: the listener and the channel, shared.
struct ServerConnection {
  std::shared_ptr<ServerHub> hub;
  /// Has no queue pair: that is the channel's. Before the domain, so that it ends after it: the
  /// connection manager closes a device that was removed with the last identifier.
  ConnectionId id;
  std::shared_ptr<ibv_pd> domain;
  std::atomic<bool> broken{false};     ///< The channel has found its queue pair failed.
  std::atomic<bool> peer_gone{false};  ///< The client has disconnected.
  std::atomic<bool> channel_gone{false};

  /// Tells the client that the channel has ended, or that we know. Any thread.
  void disconnect() noexcept { rdma_disconnect(id.get()); }
};

/// What a channel consists of.
struct ServerParts {
  std::shared_ptr<ServerConnection> connection;
  base::SharedMemory memory;  ///< Of ServerLayout.
  std::size_t slot_payload = 0;
  Region local;  ///< Outputs and staging: the client has no key to it.
  /// The requests' ring and not a byte more: Soft-RoCE (Linux 6.1) checks the key and the queue
  /// pair of a window, but of its bounds only those of the region below.
  Region ring;
  WakeChannel wake;
  Queue queue;
  QueuePair pair;
  Window window;  ///< On the requests' ring; none where the device has no windows.
  base::Fd interrupt;
  std::uint32_t inline_bytes = 0;
  std::uint32_t slots = 0;
  std::uint64_t arena_size = 0;
  std::uint64_t replies_address = 0;
  std::uint32_t replies_rkey = 0;
};

/// All that the client's `hello` asks for. The queue pair is not connected yet.
Result<ServerParts> make_parts(std::shared_ptr<ServerConnection> connection, const Hello& hello);

/// Connects the queue pair to that of `connection`'s request. `reads`: as many of ours may be under
/// way.
Result<void> connect_pair(const ServerParts& parts, std::uint8_t reads,
                          std::chrono::milliseconds peer_timeout);

/// Exposes the requests' ring, and nothing else, to the client. Returns the key; the region's own
/// where the device has no windows.
Result<std::uint32_t> expose(ServerParts& parts);

}  // namespace sublet::transport::verbs
