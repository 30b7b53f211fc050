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
  const std::string providers = fabric::describe_fabric();
  return {shm_state(),
          verbs_state(),
          {Kind::kFabric, !providers.empty(),
           providers.empty() ? "libfabric offers no provider that can be used here" : providers},
          {Kind::kTcp, true, "plain Ethernet"}};
}

}  // namespace sublet::transport
