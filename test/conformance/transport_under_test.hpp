#pragma once

#include <sublet/result.hpp>
#include <transport/arena.hpp>
#include <transport/contract.hpp>
#include <transport/setup.hpp>

#include <poll.h>

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

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

template <class Server>
using OnAccepted = std::function<void(std::uint32_t worker, std::unique_ptr<Server> channel)>;

/// A transport's listener and the connections it has accepted, as the main thread of an executor
/// uses them: poll the descriptors, then service().
template <class H, class Server>
concept HostUnderTest = requires(H host, const H& chost, const HostOptions& options,
                                 std::vector<pollfd>& fds) {
  { H::open(options) } -> std::same_as<Result<std::unique_ptr<H>>>;
  /// What a client needs to find it, for instance a socket's name; a line of text.
  { chost.address() } -> std::same_as<std::string>;
  {chost.append_poll_fds(fds)};
  { chost.poll_timeout_ms() } -> std::same_as<int>;
  /// Answers whoever wants to connect; `ended` names the workers whose client has closed or died.
  {host.service(std::function<bool(std::uint32_t)>{}, OnAccepted<Server>{},
                std::function<void(std::uint32_t)>{})};
};

/// What a transport brings to the suites: only static members.
template <class T>
concept TransportUnderTest = requires(const std::string& address, const ClientOptions& options,
                                      std::shared_ptr<transport::Arena> arena) {
  requires transport::ClientChannel<typename T::Client>;
  requires transport::ServerChannel<typename T::Server>;
  requires HostUnderTest<typename T::Host, typename T::Server>;
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

}  // namespace sublet::conformance
