#pragma once

#include <sublet/result.hpp>
#include <transport/verbs/verbs_devices.hpp>

#include <string>
#include <vector>

namespace sublet::cli {

/// A device database as rFaaS keeps them: which RDMA devices to use, and by which address. Other
/// members of its entries are read over: ports are chosen by the system, and what a device can do
/// is found by asking it.
class DeviceDatabase {
 public:
  struct Entry {
    std::string name;
    std::string ip_address;
  };

  /// kInvalid says what is wrong with the file.
  static Result<DeviceDatabase> read(const std::string& path);

  [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }
  /// kInvalid names those there are.
  [[nodiscard]] Result<Entry> find(const std::string& name) const;

 private:
  std::vector<Entry> entries_;
};

/// The first port of a device; kInvalid names the devices there are.
Result<transport::verbs::Device> pick_device(const std::vector<transport::verbs::Device>& devices,
                                             const std::string& name);

}  // namespace sublet::cli
