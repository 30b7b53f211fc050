#pragma once

#include <transport/row.hpp>
#include <transport/tcp/tcp_setup.hpp>

namespace sublet::transport::tcp {

/// Plain sockets, one stream per channel: for Ethernet.
struct Transport {
  using Client = ClientChannel;
  using Server = ServerChannel;
  using Listener = tcp::Listener;
  static constexpr const char* kName = "tcp";
  static constexpr Reach kReach = Reach::kOtherNodes;
  static constexpr bool kLocksMemory = false;

  static Finding state();
  static Finding recommended();
  static std::string listen_at(const ListenPlaces& places);
  /// The address is "HOST:PORT" or "[IPV6]:PORT". kInvalid when it is none, or something else
  /// listens there.
  static Result<Client> connect(const ConnectOptions& options, const std::shared_ptr<Arena>& arena);
};

}  // namespace sublet::transport::tcp
