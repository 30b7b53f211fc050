#pragma once

// The part of the factory that describes: which networks this node has, for `sublet devices` and
// `sublet doctor`.

#include <sublet/result.hpp>
#include <transport/kind.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace sublet::transport {

/// One port of an RDMA device, as found by asking it.
struct RdmaDevice {
  std::string name;                    ///< "mlx5_0", "rxe0".
  std::vector<std::string> addresses;  ///< IP addresses of its network interfaces.
  std::uint32_t port = 1;
  bool active = false;
  std::string state;
  std::string link_layer;
  std::uint32_t max_inline = 0;     ///< Bytes that travel within a work request; probed.
  std::uint32_t receive_depth = 0;  ///< Work requests that a receive queue holds.
  std::uint32_t mtu = 0;            ///< Bytes.
  bool memory_windows = false;      ///< Of type 2.
  int numa_node = -1;               ///< -1: the machine does not say.
  std::string local_cpus;           ///< hwloc's list syntax; empty: the machine does not say.
};

/// All ports of all RDMA devices; empty when there are none.
Result<std::vector<RdmaDevice>> rdma_devices();

/// Whether this node can use a transport, for people.
struct TransportState {
  Kind kind = Kind::kShm;
  bool usable = false;
  std::string text;  ///< What it would use, or why it cannot.
};

/// All transports of this build.
std::vector<TransportState> transport_states();

}  // namespace sublet::transport
