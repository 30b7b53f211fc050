#pragma once

#include <sublet/result.hpp>
#include <transport/fabric/fabric_library.hpp>
#include <transport/fabric/fabric_wire.hpp>

#include <rdma/fabric.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sublet::transport::fabric {

struct CloseFid {
  template <class F>
  void operator()(F* fid) const noexcept {
    fi_close(&fid->fid);
  }
};
/// Owns a libfabric object.
template <class F>
using Fid = std::unique_ptr<F, CloseFid>;

struct FreeInfo {
  void operator()(fi_info* info) const noexcept { FabricLibrary::loaded().freeinfo(info); }
};
using Info = std::unique_ptr<fi_info, FreeInfo>;

/// A copy of its own of what `info` says.
Info copy_of(const fi_info& info);

/// "FI_ENOSYS: function not implemented": what a negative libfabric return value means.
std::string fabric_error(long code);

/// One network that libfabric offers, and how to use it. Immutable; any thread. Shared by all
/// channels of the process: asking libfabric takes tens of milliseconds.
struct Provider {
  std::string name;
  EndpointKind kind = EndpointKind::kConnected;
  Info info;
  Fid<fid_fabric> fabric;
};

/// The provider to use. `name` empty: SUBLET_FABRIC_PROVIDER says which, else the best there is: a
/// network with addresses of its own (Slingshot, EFA, Omni-Path) before one with IP addresses,
/// connections before connectionless, plain before layered, else in libfabric's order. `kind`: only
/// that one. `source`: the local address to listen at, empty for any. kUnsupported when none can be
/// used, naming those there are and what each lacks.
Result<std::shared_ptr<const Provider>> find_provider(const std::string& name,
                                                      std::optional<EndpointKind> kind,
                                                      const std::string& source);

/// What SUBLET_FABRIC_PROVIDER says; empty when nothing.
std::string wanted_provider();

/// Why this transport cannot use what `info` describes: the capability that is missing; empty when
/// it can.
std::string what_is_missing(const fi_info& info);

/// The network is reached by IP addresses; others have a format of their own.
bool has_ip_addresses(const fi_info& info);

/// Everything that libfabric offers without regard to what this transport needs; null when nothing,
/// also where libfabric cannot be loaded.
Info all_providers();

}  // namespace sublet::transport::fabric
