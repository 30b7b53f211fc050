#pragma once

#include "network_host.hpp"
#include "process.hpp"
#include <transport/fabric/fabric_link.hpp>
#include <transport/fabric/fabric_setup.hpp>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace sublet::conformance {

/// How a run of the suites differs from the usual one: what SUBLET_FABRIC_PROVIDER and
/// SUBLET_FABRIC_REGISTER say, or null.
struct FabricTcp {
  static constexpr const char* kProvider = "tcp";
  static constexpr const char* kRegister = nullptr;
  static constexpr unsigned kFewerCycles = 10;
};
/// As where registering pins memory: inputs are fetched, regions grow.
struct FabricLittleRegistered {
  static constexpr const char* kProvider = "tcp";
  static constexpr const char* kRegister = "4096";
  static constexpr unsigned kFewerCycles = 100;
};
/// Endpoints without connections, as on Slingshot, EFA and Omni-Path.
struct FabricConnectionless {
  static constexpr const char* kProvider = "tcp;ofi_rxm";
  static constexpr const char* kRegister = nullptr;
  static constexpr unsigned kFewerCycles = 100;
};

/// The fabric transport.
template <class Variant>
class FabricTransport {
 public:
  using Client = transport::fabric::ClientChannel;
  using Server = transport::fabric::ServerChannel;
  using Host = NetworkHost<transport::fabric::Listener, Server, kLoopback>;
  static constexpr bool kSharesMemory = false;
  static constexpr const char* kMappingName = "memfd:sublet";
  static constexpr unsigned kFewerCycles = Variant::kFewerCycles;
  /// libfabric 1.17 over ofi_rxm crashes in fi_cq_read now and then when a peer has closed its
  /// endpoint with messages under way.
  static constexpr bool kSurvivesDrops = !std::is_same_v<Variant, FabricConnectionless>;

  static std::string why_not() {
    set("SUBLET_FABRIC_PROVIDER", Variant::kProvider);
    set("SUBLET_FABRIC_REGISTER", Variant::kRegister);
    return {};
  }

  static Result<Client> connect(const std::string& address, const ClientOptions& options,
                                std::shared_ptr<transport::Arena> arena) {
    return transport::fabric::connect(connect_options(address, options), std::move(arena));
  }

  static std::shared_ptr<void> connect_silently(const std::string& address) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    return std::make_shared<base::Fd>(
        transport::fabric::connect_link(address, end).value_or_throw());
  }

 private:
  static void set(const char* name, const char* value) {
    if (value != nullptr) {
      ::setenv(name, value, 1);
    } else {
      ::unsetenv(name);
    }
  }
};

}  // namespace sublet::conformance
