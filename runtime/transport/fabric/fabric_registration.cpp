#include <transport/fabric/fabric_registration.hpp>

#include <rdma/fi_errno.h>
#include <sys/random.h>

#include <cerrno>
#include <string>

namespace sublet::transport::fabric {

Result<Registration> register_memory(const Provider& provider, fid_domain& domain, fid_ep& endpoint,
                                     void* memory, std::size_t size, std::uint64_t remote_access) {
  const fi_domain_attr& rules = *provider.info->domain_attr;
  // Hard to guess: where it is the key alone that protects memory from others on the network.
  std::uint64_t key = 0;
  if ((rules.mr_mode & FI_MR_PROV_KEY) == 0) {
    if (::getrandom(&key, sizeof(key), 0) != sizeof(key)) {
      return fail(ErrorKind::kInternal, "no random bytes", errno);
    }
    if (rules.mr_key_size < sizeof(key)) key &= (std::uint64_t{1} << (8 * rules.mr_key_size)) - 1;
  }
  fid_mr* mr = nullptr;
  const std::uint64_t access = FI_READ | FI_WRITE | remote_access;
  if (const int error = fi_mr_reg(&domain, memory, size, access, 0, key, 0, &mr, nullptr)) {
    const bool limit = error == -FI_ENOMEM || error == -FI_EPERM || error == -FI_EAGAIN;
    return fail(ErrorKind::kOverloaded,
                "libfabric provider '" + provider.name + "': registering " + std::to_string(size) +
                    " bytes: " + fabric_error(error) +
                    (limit ? "; raise the limit of locked memory (ulimit -l) or set "
                             "SUBLET_FABRIC_REGISTER to fewer bytes"
                           : ""));
  }
  Registration registration{Fid<fid_mr>(mr), nullptr, {}};
  if ((rules.mr_mode & FI_MR_ENDPOINT) != 0) {
    int error = fi_mr_bind(mr, &endpoint.fid, 0);
    if (error == 0) error = fi_mr_enable(mr);
    if (error != 0) {
      return fail(ErrorKind::kUnsupported,
                  "libfabric provider '" + provider.name +
                      "': binding registered memory: " + fabric_error(error));
    }
  }
  registration.descriptor = fi_mr_desc(mr);
  registration.remote.address =
      (rules.mr_mode & FI_MR_VIRT_ADDR) != 0 ? reinterpret_cast<std::uintptr_t>(memory) : 0;
  registration.remote.key = fi_mr_key(mr);
  registration.remote.size = size;
  return registration;
}

}  // namespace sublet::transport::fabric
