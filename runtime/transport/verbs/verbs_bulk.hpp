#pragma once

#include <base/shared_memory.hpp>
#include <transport/verbs/verbs_objects.hpp>

#include <cstdint>

namespace sublet::transport::verbs {

/// A worker's memory for one large payload: mapped for its whole size (untouched pages cost
/// nothing), registered as far as it has been needed. Both return false when there is not enough,
/// and log why.
struct Bulk {
  /// `arena_size` bounds every payload.
  [[nodiscard]] bool map(std::uint64_t size, std::uint64_t arena_size) noexcept;
  [[nodiscard]] bool enroll(ibv_pd* domain, std::uint64_t size) noexcept;

  base::SharedMemory memory;
  Region region;
  std::uint64_t registered = 0;
  std::uint32_t busy_until = 0;  ///< Free once this many sends have ended.
};

}  // namespace sublet::transport::verbs
