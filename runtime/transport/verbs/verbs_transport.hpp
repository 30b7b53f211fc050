#pragma once

#include <transport/row.hpp>
#include <transport/verbs/verbs_setup.hpp>

namespace sublet::transport::verbs {

/// RDMA queue pairs of libibverbs.
struct Transport {
  using Client = ClientChannel;
  using Server = ServerChannel;
  using Listener = verbs::Listener;
  static constexpr const char* kName = "verbs";
  static constexpr Reach kReach = Reach::kOtherNodes;
  static constexpr bool kLocksMemory = true;

  static Finding state();
  static Finding recommended();
  static std::string listen_at(const ListenPlaces& places);
  /// The address is "IP:PORT", several separated by commas, tried in turn. kUnsupported when no
  /// RDMA device here leads there.
  static Result<Client> connect(const ConnectOptions& options, const std::shared_ptr<Arena>& arena);
  static std::vector<Result<Client>> connect_many(std::span<const ConnectOptions> options,
                                                  const std::shared_ptr<Arena>& arena);
};

}  // namespace sublet::transport::verbs
