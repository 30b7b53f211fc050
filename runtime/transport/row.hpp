#pragma once

// What a row of the table of transports (any/transports.hpp) says: the third part of the contract.

#include <transport/arena.hpp>
#include <transport/contract.hpp>
#include <transport/setup.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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
concept Transport = requires(std::span<const ConnectOptions> options,
                             const std::shared_ptr<Arena>& arena, const ListenPlaces& places) {
  requires ClientChannel<typename T::Client>;
  requires ServerChannel<typename T::Server>;
  requires ChannelListener<typename T::Listener, typename T::Server>;
  /// As it is written and said, everywhere.
  { T::kName } -> std::convertible_to<std::string_view>;
  { T::kReach } -> std::convertible_to<Reach>;
  /// Registers memory, which locks it: the limit on that concerns it.
  { T::kLocksMemory } -> std::convertible_to<bool>;
  /// Whether this node can use it, and what it would use or why not. May take some tenths of a
  /// second.
  { T::state() } -> std::same_as<Finding>;
  /// Whether a client on this node takes it without being told to, and why. Quick. A transport to
  /// the same node is always taken there, and is not asked.
  { T::recommended() } -> std::same_as<Finding>;
  /// What its listener is opened with.
  { T::listen_at(places) } -> std::same_as<std::string>;
  /// Opens a channel for each of the options, in their order, side by side where there are round
  /// trips to overlap. Blocks; each until its deadline.
  { T::connect(options, arena) } -> std::same_as<std::vector<Result<typename T::Client>>>;
};
// clang-format on

/// Connects one after the other: for a transport whose set-up is a matter of microseconds. An
/// attempt that has taken longer than it may, because this process was stopped meanwhile, is made
/// once more: what it waited for may have come during the stop, or come now.
template <class Channel>
[[nodiscard]] std::vector<Result<Channel>> connect_in_turn(
    std::span<const ConnectOptions> options, const std::shared_ptr<Arena>& arena,
    Result<Channel> (*connect)(const ConnectOptions&, std::shared_ptr<Arena>)) {
  std::vector<Result<Channel>> channels;
  channels.reserve(options.size());
  for (const ConnectOptions& one : options) {
    const auto start = std::chrono::steady_clock::now();
    auto channel = connect(one, arena);
    const auto taken = std::chrono::steady_clock::now() - start;
    const bool late = !channel && channel.error().kind() == ErrorKind::kDisconnected &&
                      taken > one.timeout + std::chrono::milliseconds(100);
    channels.push_back(late ? connect(one, arena) : std::move(channel));
  }
  return channels;
}

}  // namespace sublet::transport
