#include <transport/fabric/fabric_devices.hpp>
#include <transport/fabric/fabric_provider.hpp>

#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <tuple>

namespace sublet::transport::fabric {
namespace {

std::string address_of(const fi_info& info) {
  if (info.src_addr == nullptr) return {};
  // fi_tostr knows the structure, and with it the format of the address; fi_av_straddr would need
  // an open domain.
  const std::string all = FabricLibrary::loaded().tostr(&info, FI_TYPE_INFO);
  const std::string label = "src_addr: ";
  const auto at = all.find(label);
  if (at == std::string::npos) return {};
  const auto start = at + label.size();
  return all.substr(start, all.find('\n', start) - start);
}

auto key_of(const FabricDevice& device) {
  return std::tie(device.provider, device.endpoint, device.domain, device.address, device.missing);
}

}  // namespace

std::vector<FabricDevice> fabric_devices() {
  std::vector<FabricDevice> devices;
  const auto chosen = find_provider({}, std::nullopt, {});
  const Info list = all_providers();
  for (const fi_info* info = list.get(); info != nullptr; info = info->next) {
    FabricDevice device;
    device.provider = info->fabric_attr->prov_name;
    device.endpoint = info->ep_attr->type == FI_EP_MSG ? "connected" : "connectionless";
    device.domain = info->domain_attr->name == nullptr ? "" : info->domain_attr->name;
    device.address = address_of(*info);
    device.missing = what_is_missing(*info);
    if (chosen) {
      const fi_info& its = *(*chosen)->info;
      device.chosen = (*chosen)->name == device.provider &&
                      its.ep_attr->type == info->ep_attr->type &&
                      address_of(its) == device.address && device.missing.empty();
    }
    const bool known = std::any_of(devices.begin(), devices.end(), [&](const FabricDevice& other) {
      return key_of(other) == key_of(device);
    });
    if (!known) devices.push_back(std::move(device));
  }
  std::stable_sort(devices.begin(), devices.end(), [](const auto& a, const auto& b) {
    return std::make_tuple(!a.chosen, !a.missing.empty()) <
           std::make_tuple(!b.chosen, !b.missing.empty());
  });
  return devices;
}

std::string describe_fabric() {
  std::string text;
  for (const FabricDevice& device : fabric_devices()) {
    if (!text.empty()) text += '\n';
    text += device.chosen ? "* " : "  ";
    text += device.provider + ", " + device.endpoint + ", " + device.domain;
    if (!device.address.empty()) text += ", " + device.address;
    if (!device.missing.empty()) text += ": not usable, " + device.missing;
  }
  if (text.empty()) text = "libfabric offers no network here";
  if (const auto chosen = find_provider({}, std::nullopt, {}); !chosen) {
    text += std::string("\n") + chosen.error().what();
  }
  return text;
}

namespace {

/// Whether there is hardware of a kind that libfabric's providers for HPC networks drive. Loading
/// libfabric and letting all its providers look takes 0.3 s, which the first call to another node
/// would pay for on every Ethernet cluster. Hardware that is not named here is used when
/// SUBLET_FABRIC_PROVIDER names its provider.
bool may_have_own_fabric() {
  // Slingshot; EFA, Omni-Path, usNIC and InfiniBand; Omni-Path; Aries.
  for (const char* directory : {"/sys/class/cxi", "/sys/class/cxi_user", "/sys/class/infiniband",
                                "/sys/class/hfi1", "/sys/class/kgni"}) {
    std::error_code error;
    std::filesystem::directory_iterator entries(directory, error);
    if (!error && entries != std::filesystem::directory_iterator()) return true;
  }
  return false;
}

}  // namespace

bool has_own_fabric() {
  if (wanted_provider().empty() && !may_have_own_fabric()) return false;
  const auto chosen = find_provider({}, std::nullopt, {});
  if (!chosen) return false;
  return !wanted_provider().empty() || !has_ip_addresses(*(*chosen)->info);
}

}  // namespace sublet::transport::fabric
