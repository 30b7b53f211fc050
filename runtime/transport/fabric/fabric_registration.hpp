#pragma once

#include <transport/fabric/fabric_provider.hpp>

#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>

#include <cstddef>
#include <cstdint>

namespace sublet::transport::fabric {

/// Registered memory; the memory itself belongs to somebody else and must live longer.
struct Registration {
  Fid<fid_mr> mr;
  void* descriptor = nullptr;
  Region remote{};  ///< As the peer names it.
};

/// Makes memory usable for all local operations of the endpoint and for its peer's `remote_access`
/// (FI_REMOTE_*). kOverloaded where the system or the device has no room for it.
Result<Registration> register_memory(const Provider& provider, fid_domain& domain, fid_ep& endpoint,
                                     void* memory, std::size_t size, std::uint64_t remote_access);

}  // namespace sublet::transport::fabric
