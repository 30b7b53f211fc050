#pragma once

#include <sublet/result.hpp>
#include <transport/arena.hpp>
#include <transport/common/tcp_socket.hpp>
#include <transport/contract.hpp>
#include <transport/row.hpp>
#include <transport/setup.hpp>

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace sublet::conformance {

using Token = std::array<std::uint8_t, 16>;
inline constexpr Token kToken{7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8};

/// Longer than any test waits: a peer's death must show by itself, not by its silence.
inline constexpr std::chrono::milliseconds kSilenceAllowed = std::chrono::minutes(10);

/// How an executor listens.
struct HostOptions {
  std::uint32_t workers = 1;
  std::uint32_t max_slots = 1024;
  std::uint64_t max_arena_bytes = std::uint64_t{64} << 30;
  Token token = kToken;
  std::uint32_t generation = 0;
  std::chrono::milliseconds peer_timeout = kSilenceAllowed;
};

/// How a client connects.
struct ClientOptions {
  std::uint32_t worker = 0;
  std::uint32_t slots = 16;
  Token token = kToken;
  std::chrono::milliseconds timeout{30'000};
  std::chrono::milliseconds peer_timeout = kSilenceAllowed;
  transport::WaitPolicy wait{};
};

/// The transports' own options, from those of the suites.
inline transport::ListenOptions listen_options(const HostOptions& options) {
  transport::ListenOptions listening;
  listening.token = options.token;
  listening.generation = options.generation;
  listening.workers = options.workers;
  listening.max_slots = options.max_slots;
  listening.max_arena_bytes = options.max_arena_bytes;
  listening.peer_timeout = options.peer_timeout;
  return listening;
}
inline transport::ConnectOptions connect_options(const std::string& address,
                                                 const ClientOptions& options) {
  transport::ConnectOptions connecting;
  connecting.address = address;
  connecting.token = options.token;
  connecting.worker = options.worker;
  connecting.slots = options.slots;
  connecting.timeout = options.timeout;
  connecting.peer_timeout = options.peer_timeout;
  connecting.wait = options.wait;
  return connecting;
}

/// What a transport brings to the suites: only static members.
template <class T>
concept TransportUnderTest = requires(const std::string& address, const ClientOptions& options,
                                      std::shared_ptr<transport::Arena> arena) {
  requires transport::ClientChannel<typename T::Client>;
  requires transport::ServerChannel<typename T::Server>;
  requires transport::ChannelListener<typename T::Listener, typename T::Server>;
  /// Its row's.
  { T::kName } -> std::convertible_to<std::string_view>;
  /// Where its listener listens on this machine.
  { T::kListenAt } -> std::convertible_to<std::string>;
  /// Whether a worker works in the client's own memory, or in a copy of it that travels.
  { T::kSharesMemory } -> std::convertible_to<bool>;
  /// Part of the name of each mapping that a channel makes, to see that none is left over.
  { T::kMappingName } -> std::convertible_to<const char*>;
  /// Why it cannot run on this machine; empty when it can.
  { T::why_not() } -> std::same_as<std::string>;
  { T::connect(address, options, arena) } -> std::same_as<Result<typename T::Client>>;
  /// Connects and then says nothing, until what is returned goes.
  { T::connect_silently(address) } -> std::same_as<std::shared_ptr<void>>;
};

/// The listener of an executor. A transport whose workers hardly ever spin says so in kMostlyWarm.
template <TransportUnderTest T>
Result<std::unique_ptr<typename T::Listener>> listen(const HostOptions& options) {
  transport::ListenOptions listening = listen_options(options);
  if constexpr (requires { T::kMostlyWarm; }) listening.mostly_warm = T::kMostlyWarm;
  return T::Listener::open(listening, T::kListenAt);
}

/// What most transports bring: a row of the table of transports, that listens on the loopback
/// interface and is set up over TCP. To be derived from; what differs is named anew.
template <transport::Transport Row>
class TransportOf {
 public:
  using Client = typename Row::Client;
  using Server = typename Row::Server;
  using Listener = typename Row::Listener;
  static constexpr std::string_view kName = Row::kName;
  static constexpr const char* kListenAt = "127.0.0.1";
  static constexpr bool kSharesMemory = false;
  static constexpr const char* kMappingName = "memfd:sublet";

  static std::string why_not() {
    const transport::Finding finding = Row::state();
    return finding.good ? std::string() : finding.text;
  }
  static Result<Client> connect(const std::string& address, const ClientOptions& options,
                                const std::shared_ptr<transport::Arena>& arena) {
    return Row::connect(connect_options(address, options), arena);
  }
  static std::shared_ptr<void> connect_silently(const std::string& address) {
    const auto to = transport::HostPort::parse(address).value_or_throw();
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    return std::make_shared<base::Fd>(transport::connect_to(to, end).value_or_throw());
  }
};

}  // namespace sublet::conformance
