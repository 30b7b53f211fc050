#include <transport/common/tcp_socket.hpp>
#include <transport/verbs/verbs_devices.hpp>
#include <transport/verbs/verbs_objects.hpp>

#include <endian.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <utility>

namespace sublet::transport::verbs {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDevices = "/sys/class/infiniband";
constexpr const char* kConnectionManager = "/dev/infiniband/rdma_cm";

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

void add_once(std::vector<std::string>& list, std::string text) {
  if (!text.empty() && std::find(list.begin(), list.end(), text) == list.end()) {
    list.push_back(std::move(text));
  }
}

/// Ethernet devices name an interface for each GID, InfiniBand ones have theirs beside them.
std::vector<std::string> interfaces_of(const std::string& device, std::uint8_t port) {
  const fs::path root = fs::path(kDevices) / device;
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(
           root / "ports" / std::to_string(port) / "gid_attrs" / "ndevs", ignored)) {
    add_once(names, first_line(entry.path()));
  }
  if (names.empty()) {
    for (const auto& entry : fs::directory_iterator(root / "device" / "net", ignored)) {
      add_once(names, entry.path().filename().string());
    }
  }
  return names;
}

/// Only what another machine can use: not loopback, not link-local.
std::string address_text(const sockaddr* address) {
  if (address->sa_family == AF_INET) return host_text(address, sizeof(sockaddr_in));
  if (address->sa_family != AF_INET6) return {};
  const auto& v6 = *reinterpret_cast<const sockaddr_in6*>(address);
  return IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr) ? "" : host_text(address, sizeof(sockaddr_in6));
}

std::vector<std::string> addresses_of(const std::vector<std::string>& interfaces) {
  std::vector<std::string> addresses;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return addresses;
  const std::unique_ptr<ifaddrs, detail::Destroyer<&::freeifaddrs>> owner(list);
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_LOOPBACK) != 0) continue;
    if (std::find(interfaces.begin(), interfaces.end(), entry->ifa_name) == interfaces.end()) {
      continue;
    }
    add_once(addresses, address_text(entry->ifa_addr));
  }
  return addresses;
}

std::string guid_text(std::uint64_t guid) {
  const std::uint64_t value = be64toh(guid);
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "%04x:%04x:%04x:%04x",
                static_cast<unsigned>(value >> 48 & 0xffff),
                static_cast<unsigned>(value >> 32 & 0xffff),
                static_cast<unsigned>(value >> 16 & 0xffff), static_cast<unsigned>(value & 0xffff));
  return text.data();
}

int numa_node_of(const std::string& device) {
  const std::string text = first_line(fs::path(kDevices) / device / "device" / "numa_node");
  return text.empty() ? -1 : std::atoi(text.c_str());
}

struct DeviceList {
  int count = 0;
  ibv_device** devices = nullptr;
  DeviceList() : devices(ibv_get_device_list(&count)) {}
  DeviceList(const DeviceList&) = delete;
  DeviceList& operator=(const DeviceList&) = delete;
  ~DeviceList() {
    if (devices != nullptr) ibv_free_device_list(devices);
  }
};

using Context = std::unique_ptr<ibv_context, detail::Destroyer<&ibv_close_device>>;

/// libibverbs complains on stderr where there is no RDMA at all.
bool any_device() {
  std::error_code ignored;
  return !fs::is_empty(kDevices, ignored) && !ignored;
}

template <class Use>
Result<void> for_each_port(Use&& use) {
  if (!any_device()) return {};
  const DeviceList list;
  for (int i = 0; i < list.count; ++i) {
    const Context context(ibv_open_device(list.devices[i]));
    const std::string name = ibv_get_device_name(list.devices[i]);
    ibv_device_attr attributes{};
    if (!context || ibv_query_device(context.get(), &attributes) != 0) {
      return verbs_error(ErrorKind::kUnsupported, "opening the RDMA device " + name, errno);
    }
    for (int port = 1; port <= attributes.phys_port_cnt; ++port) {
      ibv_port_attr state{};
      if (ibv_query_port(context.get(), static_cast<std::uint8_t>(port), &state) != 0) continue;
      use(context.get(), name, attributes, static_cast<std::uint8_t>(port), state);
    }
  }
  return {};
}

std::uint32_t bytes_of(ibv_mtu mtu) {
  return 128u << static_cast<unsigned>(mtu);
}

}  // namespace

Result<std::vector<Device>> devices() {
  std::vector<Device> all;
  auto done = for_each_port([&](ibv_context* context, const std::string& name,
                                const ibv_device_attr& attributes, std::uint8_t port,
                                const ibv_port_attr& state) {
    Device device;
    device.name = name;
    device.port = port;
    device.interfaces = interfaces_of(name, port);
    device.addresses = addresses_of(device.interfaces);
    device.active = state.state == IBV_PORT_ACTIVE;
    device.state = ibv_port_state_str(state.state);
    device.link_layer = state.link_layer == IBV_LINK_LAYER_ETHERNET ? "Ethernet" : "InfiniBand";
    device.guid = guid_text(attributes.node_guid);
    device.max_inline = max_inline(context);
    device.receive_depth = static_cast<std::uint32_t>(attributes.max_qp_wr);
    device.mtu = bytes_of(state.active_mtu);
    device.windows = (attributes.device_cap_flags &
                      (IBV_DEVICE_MEM_WINDOW_TYPE_2A | IBV_DEVICE_MEM_WINDOW_TYPE_2B)) != 0;
    device.numa_node = numa_node_of(name);
    device.local_cpus = first_line(fs::path(kDevices) / name / "device" / "local_cpulist");
    all.push_back(std::move(device));
  });
  if (!done) return tl::unexpected<Error>(std::move(done.error()));
  return all;
}

Result<std::vector<Device>> device_named(const std::string& name) {
  auto all = devices();
  if (!all) return all;
  std::vector<Device> ports;
  std::string names;
  for (Device& device : *all) {
    names += (names.empty() ? "" : ", ") + device.name;
    if (device.name == name) ports.push_back(std::move(device));
  }
  if (!ports.empty()) return ports;
  return fail(ErrorKind::kInvalid,
              "there is no RDMA device '" + name + "'; there " +
                  (names.empty() ? std::string("is none at all") : "are: " + names));
}

std::string why_unavailable() {
  if (!any_device()) return "this machine has no RDMA device (nothing in /sys/class/infiniband)";
  if (!fs::exists(kConnectionManager)) {
    return std::string(kConnectionManager) + " is missing: is the module rdma_ucm loaded?";
  }
  bool active = false;
  std::string ports;
  const auto done = for_each_port([&](ibv_context*, const std::string& name, const ibv_device_attr&,
                                      std::uint8_t port, const ibv_port_attr& state) {
    active = active || state.state == IBV_PORT_ACTIVE;
    ports += (ports.empty() ? "" : ", ") + name + " port " + std::to_string(port) + ": " +
             ibv_port_state_str(state.state);
  });
  if (!done) return done.error().what();
  if (active) return {};
  return "no port of an RDMA device is active (" + (ports.empty() ? "no port" : ports) + ")";
}

std::vector<std::string> active_addresses() {
  std::vector<std::string> addresses;
  (void)for_each_port([&](ibv_context*, const std::string& name, const ibv_device_attr&,
                          std::uint8_t port, const ibv_port_attr& state) {
    if (state.state != IBV_PORT_ACTIVE) return;
    for (std::string& address : addresses_of(interfaces_of(name, port))) {
      add_once(addresses, std::move(address));
    }
  });
  return addresses;
}

}  // namespace sublet::transport::verbs
