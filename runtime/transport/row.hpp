#pragma once

// What a row of the table of transports (any/transports.hpp) says: the third part of the contract.

#include <transport/arena.hpp>
#include <transport/contract.hpp>
#include <transport/setup.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace sublet::transport {

/// Where the executors are that a client reaches by a transport.
enum class Reach : std::uint8_t {
  kSameNode,    ///< On its own node: the socket is made before the executor, which takes it over.
  kOtherNodes,  ///< The executor listens when a client asks for it.
};

/// Where an executor may listen; a transport takes what suits it. Each may be empty.
struct ListenPlaces {
  std::string host;            ///< Of this node, for data connections; empty: at all addresses.
  std::string device;          ///< The RDMA device, or an address of it; empty: all active ports.
  std::string client_network;  ///< The address of this node at which the client came.
};

/// Whether something is so, and why, for people.
struct Finding {
  bool good = false;
  std::string text;
};

/// A transport: a struct with static members only.
// clang-format off
template <class T>
concept Transport = requires(const ConnectOptions& options, const std::shared_ptr<Arena>& arena,
                             const ListenPlaces& places) {
  requires ClientChannel<typename T::Client>;
  requires ServerChannel<typename T::Server>;
  requires ChannelListener<typename T::Listener, typename T::Server>;
  /// Its name in options, messages and documents.
  { T::kName } -> std::convertible_to<std::string_view>;
  { T::kReach } -> std::convertible_to<Reach>;
  /// True when it registers memory, which locks it: the limit on locked memory then applies.
  { T::kLocksMemory } -> std::convertible_to<bool>;
  /// Whether this node can use it, and what it would use or why not. May take some tenths of a
  /// second.
  { T::state() } -> std::same_as<Finding>;
  /// Whether a client on this node takes it without being told to, and why. Quick. A transport to
  /// the same node is always taken there, and is not asked.
  { T::recommended() } -> std::same_as<Finding>;
  /// What its listener is opened with.
  { T::listen_at(places) } -> std::same_as<std::string>;
  /// Opens a channel to one worker. kDenied with the executor's reason when it refuses,
  /// kDisconnected when it is not there or does not answer in time. Blocks. A transport whose
  /// set-ups have round trips to overlap also has connect_many(), for several, in their order.
  { T::connect(options, arena) } -> std::same_as<Result<typename T::Client>>;
};
// clang-format on

}  // namespace sublet::transport
