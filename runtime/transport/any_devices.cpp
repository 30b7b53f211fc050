#include <base/asymmetric_fence.hpp>
#include <transport/any_devices.hpp>
#include <transport/fabric/fabric_devices.hpp>
#include <transport/verbs/verbs_devices.hpp>

#include <utility>

namespace sublet::transport {
namespace {

TransportState shm_state() {
  const bool fences = base::register_asymmetric_fence();
  return {Kind::kShm, true,
          fences ? "for executors on this node"
                 : "for executors on this node; this kernel has no expedited membarrier, so that "
                   "each call pays for a fence"};
}

TransportState verbs_state() {
  if (std::string why = verbs::why_unavailable(); !why.empty()) {
    return {Kind::kVerbs, false, std::move(why)};
  }
  std::string text = "RDMA at";
  for (const std::string& address : verbs::active_addresses()) text += " " + address;
  return {Kind::kVerbs, true, text};
}

TransportState fabric_state() {
  std::size_t others = 0;
  std::string chosen;
  for (const fabric::FabricDevice& device : fabric::fabric_devices()) {
    if (device.chosen) {
      chosen = "provider " + device.provider + " (" + device.endpoint + " endpoints) on " +
               device.domain + (device.address.empty() ? "" : ", " + device.address);
    } else if (device.missing.empty()) {
      ++others;
    }
  }
  if (chosen.empty()) {
    return {Kind::kFabric, false, "libfabric offers no provider that can be used here"};
  }
  return {Kind::kFabric, true,
          chosen + "; " + std::to_string(others) +
              " other networks, see fi_info; SUBLET_FABRIC_PROVIDER names another provider"};
}

}  // namespace

Result<std::vector<RdmaDevice>> rdma_devices() {
  auto found = verbs::devices();
  if (!found) return tl::unexpected<Error>(std::move(found.error()));
  std::vector<RdmaDevice> devices;
  for (verbs::Device& device : *found) {
    devices.push_back({std::move(device.name), std::move(device.addresses), device.port,
                       device.active, std::move(device.state), std::move(device.link_layer),
                       device.max_inline, device.receive_depth, device.mtu, device.windows,
                       device.numa_node, std::move(device.local_cpus)});
  }
  return devices;
}

std::vector<TransportState> transport_states() {
  return {shm_state(), verbs_state(), fabric_state(), {Kind::kTcp, true, "plain Ethernet"}};
}

}  // namespace sublet::transport
