#include <cli/device_database.hpp>

#include <arpa/inet.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

namespace sublet::cli {
namespace {

template <class Devices>
tl::unexpected<Error> no_such_device(const std::string& name, const Devices& devices,
                                     const std::string& where) {
  std::string names;
  std::string last;
  for (const auto& device : devices) {
    // Ports of one device stand side by side.
    if (device.name != last) names += (names.empty() ? "" : ", ") + device.name;
    last = device.name;
  }
  return fail(ErrorKind::kInvalid, "there is no device '" + name + "' " + where + "; there " +
                                       (names.empty() ? "is none" : "are: " + names));
}

bool is_ip_address(const std::string& text) {
  in6_addr address{};
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

}  // namespace

Result<DeviceDatabase> DeviceDatabase::read(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    return fail(ErrorKind::kInvalid,
                "reading device database '" + path + "': " + std::strerror(errno));
  }
  const auto json = nlohmann::json::parse(file, nullptr, false);
  const auto wrong = [&](const std::string& what) {
    return fail(ErrorKind::kInvalid, "device database '" + path + "': " + what +
                                         "; wanted is {\"devices\":[{\"name\":...,"
                                         "\"ip_address\":...}]}");
  };
  if (json.is_discarded()) return wrong("it is no JSON");
  if (!json.is_object() || !json.contains("devices") || !json["devices"].is_array()) {
    return wrong("it has no list 'devices'");
  }
  DeviceDatabase database;
  for (const auto& device : json["devices"]) {
    if (!device.is_object() || !device.contains("name") || !device["name"].is_string() ||
        !device.contains("ip_address") || !device["ip_address"].is_string()) {
      return wrong("device " + std::to_string(database.entries_.size() + 1) +
                   " has no name or no ip_address");
    }
    Entry entry{device["name"].get<std::string>(), device["ip_address"].get<std::string>()};
    if (!is_ip_address(entry.ip_address)) {
      return wrong("device '" + entry.name + "' has the ip_address '" + entry.ip_address +
                   "', which is no IP address");
    }
    database.entries_.push_back(std::move(entry));
  }
  return database;
}

Result<DeviceDatabase::Entry> DeviceDatabase::find(const std::string& name) const {
  const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& candidate) { return candidate.name == name; });
  if (entry == entries_.end()) return no_such_device(name, entries_, "in the device database");
  return *entry;
}

Result<transport::verbs::Device> pick_device(const std::vector<transport::verbs::Device>& devices,
                                             const std::string& name) {
  const auto device = std::find_if(devices.begin(), devices.end(),
                                   [&](const auto& candidate) { return candidate.name == name; });
  if (device == devices.end()) return no_such_device(name, devices, "on this node");
  return *device;
}

}  // namespace sublet::cli
