#pragma once

#include "transport_under_test.hpp"
#include <base/asymmetric_fence.hpp>
#include <base/unix_socket.hpp>
#include <transport/shm/shm_setup.hpp>

#include <memory>
#include <string>
#include <utility>

namespace sublet::conformance {

/// The shm transport; Fences says who pays for the fence between work and sleep.
template <transport::shm::FenceMode Fences>
class ShmTransport {
 public:
  using Client = transport::shm::ClientChannel;
  using Server = transport::shm::ServerChannel;
  using Listener = transport::shm::Listener;
  static constexpr const char* kListenAt = "";  ///< A name that the system chooses.
  static constexpr bool kMostlyWarm = Fences == transport::shm::FenceMode::kSymmetric;
  static constexpr bool kSharesMemory = true;
  static constexpr const char* kMappingName = "memfd:sublet";

  static std::string why_not() {
    if (Fences == transport::shm::FenceMode::kAsymmetric && !base::register_asymmetric_fence()) {
      return "this kernel has no expedited membarrier";
    }
    return {};
  }

  static Result<Client> connect(const std::string& address, const ClientOptions& options,
                                std::shared_ptr<transport::Arena> arena) {
    return transport::shm::connect(connect_options(address, options), std::move(arena));
  }

  static std::shared_ptr<void> connect_silently(const std::string& address) {
    return std::make_shared<base::Fd>(base::connect_abstract(address).value_or_throw());
  }
};

}  // namespace sublet::conformance
