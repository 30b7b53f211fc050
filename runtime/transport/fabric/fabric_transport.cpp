#include <transport/fabric/fabric_devices.hpp>
#include <transport/fabric/fabric_transport.hpp>

namespace sublet::transport::fabric {

static_assert(transport::Transport<Transport>);

Finding Transport::state() {
  std::size_t others = 0;
  std::string chosen;
  for (const FabricDevice& device : fabric_devices()) {
    if (device.chosen) {
      chosen = "provider " + device.provider + " (" + device.endpoint + " endpoints) on " +
               device.domain + (device.address.empty() ? "" : ", " + device.address);
    } else if (device.missing.empty()) {
      ++others;
    }
  }
  if (chosen.empty()) return {false, "libfabric offers no provider that can be used here"};
  return {true, chosen + "; " + std::to_string(others) +
                    " other networks, see fi_info; SUBLET_FABRIC_PROVIDER names another provider"};
}

Finding Transport::recommended() {
  if (has_own_fabric()) return {true, "libfabric has a network of its own here"};
  return {false, "libfabric has no network of its own here"};
}

std::string Transport::listen_at(const ListenPlaces& places) {
  // An endpoint is on one network only: the one that the client came by.
  return places.host.empty() ? places.client_network : places.host;
}

}  // namespace sublet::transport::fabric
