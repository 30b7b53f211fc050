#pragma once

#include <sublet/lease.hpp>

#include <cstddef>
#include <span>
#include <vector>

namespace sublet::mpi {

/// One rank's grants as bytes, for one message: a 32-bit length before each Grant::to_bytes().
[[nodiscard]] std::vector<std::byte> to_parcel(std::span<const Grant> grants);

/// kInvalid when the bytes are no parcel.
Result<std::vector<Grant>> from_parcel(std::span<const std::byte> bytes);

}  // namespace sublet::mpi
