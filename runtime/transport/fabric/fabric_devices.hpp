#pragma once

#include <sublet/result.hpp>

#include <string>
#include <vector>

namespace sublet::transport::fabric {

/// A network that libfabric offers on this node.
struct FabricDevice {
  std::string provider;  ///< What SUBLET_FABRIC_PROVIDER takes.
  std::string endpoint;  ///< "connected" or "connectionless".
  std::string domain;    ///< The device or interface, for instance "eth0".
  std::string address;   ///< Where it is reached; empty when the provider does not tell.
  std::string missing;   ///< Why the fabric transport cannot use it; empty when it can.
  bool chosen = false;   ///< The one that an executor on this node would use.
};

/// All networks that libfabric offers, the usable ones first, each once. Takes some 0.3 s. Any
/// thread. Never fails: an empty list when libfabric has nothing.
std::vector<FabricDevice> fabric_devices();

/// Whether this node has a network that only libfabric knows: one with addresses of its own, such
/// as Slingshot, EFA or Omni-Path, or one that SUBLET_FABRIC_PROVIDER names.
bool has_own_fabric();

}  // namespace sublet::transport::fabric
