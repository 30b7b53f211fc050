#include "grant_parcel.hpp"

#include <cstdint>
#include <cstring>

namespace sublet::mpi {

std::vector<std::byte> to_parcel(std::span<const Grant> grants) {
  std::vector<std::byte> parcel;
  for (const Grant& grant : grants) {
    const std::vector<std::byte> bytes = grant.to_bytes();
    const auto length = static_cast<std::uint32_t>(bytes.size());
    const std::size_t at = parcel.size();
    parcel.resize(at + sizeof length + bytes.size());
    std::memcpy(parcel.data() + at, &length, sizeof length);
    std::memcpy(parcel.data() + at + sizeof length, bytes.data(), bytes.size());
  }
  return parcel;
}

Result<std::vector<Grant>> from_parcel(std::span<const std::byte> bytes) {
  std::vector<Grant> grants;
  while (!bytes.empty()) {
    std::uint32_t length = 0;
    if (bytes.size() < sizeof length) {
      return fail(ErrorKind::kInvalid, "the grants received from rank 0 are cut short");
    }
    std::memcpy(&length, bytes.data(), sizeof length);
    bytes = bytes.subspan(sizeof length);
    if (length > bytes.size()) {
      return fail(ErrorKind::kInvalid,
                  "a grant received from rank 0 is cut short: " + std::to_string(bytes.size()) +
                      " of " + std::to_string(length) + " bytes");
    }
    auto grant = Grant::from_bytes(bytes.first(length));
    if (!grant) return tl::unexpected<Error>(std::move(grant.error()));
    grants.push_back(std::move(*grant));
    bytes = bytes.subspan(length);
  }
  return grants;
}

}  // namespace sublet::mpi
