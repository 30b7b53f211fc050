#include <transport/common/tcp_socket.hpp>
#include <transport/fabric/fabric_devices.hpp>
#include <transport/fabric/fabric_provider.hpp>

#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <tuple>

namespace sublet::transport::fabric {
namespace {

/// Of a network with a format of its own: the bytes in hexadecimal, as its tools print them.
std::string device_address(const fi_info& info) {
  if (info.src_addr == nullptr) return {};
  if (has_ip_addresses(info)) {
    return host_text(static_cast<const sockaddr*>(info.src_addr),
                     static_cast<socklen_t>(info.src_addrlen));
  }
  const std::string_view bytes(static_cast<const char*>(info.src_addr), info.src_addrlen);
  if (info.addr_format == FI_ADDR_STR) return std::string(bytes.substr(0, bytes.find('\0')));
  std::string text;
  for (const char byte : bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += kDigits[static_cast<unsigned char>(byte) >> 4];
    text += kDigits[static_cast<unsigned char>(byte) & 15];
  }
  return text;
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
    device.address = device_address(*info);
    device.missing = what_is_missing(*info);
    if (chosen) {
      const fi_info& its = *(*chosen)->info;
      device.chosen = (*chosen)->name == device.provider &&
                      its.ep_attr->type == info->ep_attr->type &&
                      device_address(its) == device.address && device.missing.empty();
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
