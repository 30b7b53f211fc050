#include <base/log.hpp>
#include <transport/verbs/verbs_bulk.hpp>
#include <transport/verbs/verbs_tuning.hpp>
#include <transport/verbs/verbs_wire.hpp>

#include <algorithm>
#include <bit>
#include <exception>
#include <utility>

namespace sublet::transport::verbs {
namespace {

/// A power of two, so that growing payloads need new memory seldom; `most` at the most.
std::uint64_t size_for(std::uint64_t size, std::uint64_t most) noexcept {
  return std::min(std::max<std::uint64_t>(std::bit_ceil(size), kFirstBulk), most);
}

bool failed(const char* why) noexcept {
  base::log().error("a worker's buffer for a large payload: {}", why);
  return false;
}

}  // namespace

bool Bulk::map(std::uint64_t size, std::uint64_t arena_size) noexcept {
  if (memory.size() >= size) return true;
  try {
    region.reset();
    registered = 0;
    auto made = base::SharedMemory::create(
        "sublet-verbs-bulk", size_for(size, std::max(whole_pages(arena_size), kFirstBulk)),
        base::SharedMemory::Pages::kHuge);
    if (!made) return failed(made.error().what());
    memory = std::move(*made);
    return true;
  } catch (const std::exception& error) {
    return failed(error.what());
  }
}

bool Bulk::enroll(ibv_pd* domain, std::uint64_t size) noexcept {
  if (size <= registered) return true;
  try {
    region.reset();
    registered = 0;
    const std::uint64_t wanted = size_for(size, memory.size());
    auto made = register_memory(domain, memory.data(), wanted, IBV_ACCESS_LOCAL_WRITE);
    if (!made) return failed(made.error().what());
    region = std::move(*made);
    registered = wanted;
    return true;
  } catch (const std::exception& error) {
    return failed(error.what());
  }
}

}  // namespace sublet::transport::verbs
