#pragma once

#include <sublet/result.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace sublet::transport::verbs {

/// One port of an RDMA device of this machine, as found; nothing of it is configured.
struct Device {
  std::string name;  ///< "mlx5_0", "rxe0".
  std::uint8_t port = 1;
  std::vector<std::string> addresses;  ///< IP addresses of its network interfaces.
  std::vector<std::string> interfaces;
  bool active = false;
  std::string state;                ///< "active", "down"; as libibverbs says it.
  std::string link_layer;           ///< "InfiniBand" or "Ethernet".
  std::string guid;                 ///< Of the node: "5054:00ff:fe12:3456".
  std::uint32_t max_inline = 0;     ///< Bytes; found by making queue pairs.
  std::uint32_t receive_depth = 0;  ///< Work requests that a receive queue holds.
  std::uint32_t mtu = 0;            ///< Bytes.
  bool windows = false;             ///< Has type 2 memory windows.
  int numa_node = -1;               ///< -1: the machine does not say.
  std::string local_cpus;           ///< "0-15"; empty: the machine does not say.
};

/// All ports of all devices; empty when there are none. kUnsupported when a device cannot be
/// opened. Takes some milliseconds. Any thread.
Result<std::vector<Device>> devices();

/// Those of one device; kInvalid names the devices there are when there is no such one.
Result<std::vector<Device>> device_named(const std::string& name);

/// Why no queue pair can be made here, for people: no device, or no active port. Empty when one
/// can. Quick and silent without devices.
[[nodiscard]] std::string why_unavailable();

/// The addresses at which peers reach this machine over RDMA: those of the active ports.
[[nodiscard]] std::vector<std::string> active_addresses();

}  // namespace sublet::transport::verbs
