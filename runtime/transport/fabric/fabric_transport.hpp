#pragma once

#include <transport/fabric/fabric_setup.hpp>
#include <transport/row.hpp>

namespace sublet::transport::fabric {

/// Networks that libfabric knows.
struct Transport {
  using Client = ClientChannel;
  using Server = ServerChannel;
  using Listener = fabric::Listener;
  static constexpr const char* kName = "fabric";
  static constexpr Reach kReach = Reach::kOtherNodes;
  static constexpr bool kLocksMemory = false;

  static Finding state();
  static Finding recommended();
  static std::string listen_at(const ListenPlaces& places);
  /// The address is "HOST:PORT"; the executor names the provider. kUnsupported when this node lacks
  /// that provider.
  static Result<Client> connect(const ConnectOptions& options, const std::shared_ptr<Arena>& arena);
};

}  // namespace sublet::transport::fabric
