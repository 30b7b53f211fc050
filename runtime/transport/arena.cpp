#include <transport/arena.hpp>

#include <algorithm>
#include <new>

namespace sublet::transport {
namespace {

std::size_t round_up(std::size_t bytes) {
  const std::size_t nonzero = std::max<std::size_t>(bytes, 1);
  return (nonzero + Arena::kGranule - 1) / Arena::kGranule * Arena::kGranule;
}

}  // namespace

Result<std::shared_ptr<Arena>> Arena::create(std::size_t size) {
  constexpr std::size_t kPage = std::size_t{2} << 20;
  constexpr std::size_t kLargest = std::size_t{1} << 46;
  if (size == 0 || size > kLargest) {
    return fail(ErrorKind::kInvalid, "an arena of " + std::to_string(size) +
                                         " bytes was asked for; 1 byte to 64 TiB can be had");
  }
  auto memory = base::SharedMemory::create("sublet-arena", (size + kPage - 1) / kPage * kPage,
                                           base::SharedMemory::Pages::kHuge);
  if (!memory) return tl::unexpected<Error>(memory.error());
  return std::make_shared<Arena>(std::move(*memory));
}

Arena::Arena(base::SharedMemory memory) : memory_(std::move(memory)) {
  free_.emplace(0, memory_.size());
}

std::size_t Arena::largest_free() const {
  const std::lock_guard lock(mutex_);
  std::size_t largest = 0;
  for (const auto& [offset, length] : free_) largest = std::max(largest, length);
  return largest;
}

std::size_t Arena::bytes_in_use() const {
  const std::lock_guard lock(mutex_);
  std::size_t free = 0;
  for (const auto& [offset, length] : free_) free += length;
  return memory_.size() - free;
}

void* Arena::do_allocate(std::size_t bytes, std::size_t alignment) {
  if (bytes > memory_.size()) throw std::bad_alloc();
  const std::size_t length = round_up(bytes);
  const std::lock_guard lock(mutex_);
  for (auto range = free_.begin(); range != free_.end(); ++range) {
    const auto [start, available] = *range;
    // Of the address, not of the offset: the mapping itself is only aligned to a page.
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data()) + start;
    const std::size_t skipped = (alignment - address % alignment) % alignment;
    const std::size_t aligned = start + skipped;
    if (available < skipped || available - skipped < length) continue;
    free_.erase(range);
    if (skipped > 0) free_.emplace(start, skipped);
    if (available - skipped > length) {
      free_.emplace(aligned + length, available - skipped - length);
    }
    return memory_.data() + aligned;
  }
  throw std::bad_alloc();
}

void Arena::do_deallocate(void* pointer, std::size_t bytes, std::size_t) {
  std::size_t start = static_cast<std::size_t>(static_cast<std::byte*>(pointer) - memory_.data());
  std::size_t length = round_up(bytes);
  const std::lock_guard lock(mutex_);
  auto next = free_.lower_bound(start);
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == start) {
      start = previous->first;
      length += previous->second;
      free_.erase(previous);
    }
  }
  if (next != free_.end() && start + length == next->first) {
    length += next->second;
    free_.erase(next);
  }
  free_.emplace(start, length);
}

}  // namespace sublet::transport
