#include <cli/command.hpp>
#include <cli/device_database.hpp>
#include <cli/exit_codes.hpp>
#include <cli/options.hpp>
#include <cli/output.hpp>
#include <topology/topology.hpp>
#include <transport/verbs/verbs_devices.hpp>

#include <boost/program_options.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;
using transport::verbs::Device;

CommandLine command_line() {
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
  add_output_option(line.options);
  return line;
}

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
  const CommandLine line = command_line();
  const auto values = parse_options(line, words);
  if (!values) return complain(line.name, values.error().what(), kExitUsage);
  if (values->count("help") != 0) {
    print_help(line);
    return kExitOk;
  }
  const auto format = output_format(*values);
  if (!format) return complain(line.name, format.error().what(), kExitUsage);
  const auto devices = chosen_devices(*values);
  if (!devices) {
    return complain(line.name, devices.error().what(), exit_code(devices.error().kind()));
  }
  const auto topology = topology::Topology::load();
  if (!topology) {
    return complain(line.name, topology.error().what(), exit_code(topology.error().kind()));
  }
  if (*format == OutputFormat::kJson) {
    std::cout << to_json(*devices, *topology).dump(2) << "\n";
  } else if (devices->empty()) {
    std::cout << "This node has no RDMA device.\n";
  } else {
    std::cout << to_table(*devices, *topology);
  }
  return kExitOk;
}

}  // namespace sublet::cli
