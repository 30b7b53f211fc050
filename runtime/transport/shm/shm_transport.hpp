#pragma once

#include <transport/row.hpp>
#include <transport/shm/shm_setup.hpp>

namespace sublet::transport::shm {

/// Memory shared by client and worker on one node.
struct Transport {
  using Client = ClientChannel;
  using Server = ServerChannel;
  using Listener = shm::Listener;
  static constexpr const char* kName = "shm";
  static constexpr Reach kReach = Reach::kSameNode;
  static constexpr bool kLocksMemory = false;

  static Finding state();
  static Finding recommended();
  static std::string listen_at(const ListenPlaces& places);
  /// The address is an abstract socket name, without the leading zero byte.
  static Result<Client> connect(const ConnectOptions& options, const std::shared_ptr<Arena>& arena);
};

}  // namespace sublet::transport::shm
