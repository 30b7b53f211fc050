#include <cli/command.hpp>
#include <cli/device_database.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <topology/topology.hpp>
#include <transport/verbs/verbs_devices.hpp>

#include <boost/program_options.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace sublet::cli {

namespace po = boost::program_options;

CommandLine devices_command_line() {
  CommandLine line;
  line.name = "devices";
  line.arguments = "[OPTIONS]";
  line.about =
      "Lists the ports of this node's RDMA devices: addresses, state, how much data travels "
      "inline\n"
      "(found by trying), how deep receive queues are, and the cores that are nearest. With "
      "--output\n"
      "json it is a device database as rFaaS has them, with more in it.";
  line.options.add_options()("device", po::value<std::string>(), "only this device")(
      "device-database", po::value<std::string>(),
      "only the devices of this file, with the addresses that it names");
  add_output_option(line);
  return line;
}

namespace {

using transport::verbs::Device;

/// The cores that are nearest to a device: those its NUMA node or the machine names, as hwloc knows
/// them.
std::string nearest_cores(const Device& device, const topology::Topology& topology) {
  if (const auto local = topology::Cpuset::parse(device.local_cpus); local && !local->empty()) {
    return local->to_list();
  }
  for (const topology::NumaNode& node : topology.numa_nodes()) {
    if (static_cast<int>(node.index) == device.numa_node) return node.cpuset.to_list();
  }
  return topology.machine().to_list();
}

nlohmann::json to_json(const std::vector<Device>& devices, const topology::Topology& topology) {
  auto list = nlohmann::json::array();
  for (const Device& device : devices) {
    list.push_back({{"name", device.name},
                    {"ip_address", device.addresses.empty() ? "" : device.addresses.front()},
                    {"addresses", device.addresses},
                    {"port", device.port},
                    {"state", device.state},
                    {"link_layer", device.link_layer},
                    {"max_inline_data", device.max_inline},
                    {"default_receive_buffer_size", device.receive_depth},
                    {"mtu", device.mtu},
                    {"memory_windows", device.windows},
                    {"numa_node", device.numa_node},
                    {"nearest_cores", nearest_cores(device, topology)}});
  }
  return {{"devices", list}};
}

std::string to_table(const std::vector<Device>& devices, const topology::Topology& topology) {
  if (devices.empty()) return "This node has no RDMA device.\n";
  std::vector<std::vector<std::string>> rows = {
      {"DEVICE", "PORT", "STATE", "LINK", "ADDRESS", "INLINE", "RECEIVES", "NUMA", "CORES"}};
  for (const Device& device : devices) {
    std::string addresses;
    for (const std::string& address : device.addresses) {
      addresses += (addresses.empty() ? "" : ",") + address;
    }
    rows.push_back({device.name, std::to_string(device.port), device.state, device.link_layer,
                    addresses.empty() ? "-" : addresses, std::to_string(device.max_inline),
                    std::to_string(device.receive_depth),
                    device.numa_node < 0 ? "-" : std::to_string(device.numa_node),
                    nearest_cores(device, topology)});
  }
  return format_table(rows);
}

Result<std::vector<Device>> chosen_devices(const po::variables_map& values) {
  auto devices = transport::verbs::devices();
  if (!devices) return devices;
  if (values.count("device-database") != 0) {
    const auto database = DeviceDatabase::read(values["device-database"].as<std::string>());
    if (!database) return tl::unexpected<Error>(database.error());
    std::vector<Device> named;
    for (const DeviceDatabase::Entry& entry : database->entries()) {
      auto device = pick_device(*devices, entry.name);
      if (!device) return tl::unexpected<Error>(device.error());
      device->addresses = {entry.ip_address};
      named.push_back(std::move(*device));
    }
    *devices = std::move(named);
  }
  if (values.count("device") != 0) {
    auto device = pick_device(*devices, values["device"].as<std::string>());
    if (!device) return tl::unexpected<Error>(device.error());
    return std::vector<Device>{std::move(*device)};
  }
  return devices;
}

}  // namespace

int devices_command(const std::vector<std::string>& words) {
  return list_command(devices_command_line(), words, [](const Values& values) -> Result<Listing> {
    const auto devices = chosen_devices(values);
    if (!devices) return tl::unexpected<Error>(devices.error());
    const auto topology = topology::Topology::load();
    if (!topology) return tl::unexpected<Error>(topology.error());
    return Listing{to_table(*devices, *topology), to_json(*devices, *topology).dump(2) + "\n"};
  });
}

}  // namespace sublet::cli
