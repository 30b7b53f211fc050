#pragma once

#include <cstddef>
#include <cstdint>

namespace sublet::transport {

/// The memory that a channel's payloads lie in: the client's arena, or the worker's view of it.
struct ArenaRange {
  std::byte* start = nullptr;
  std::uint64_t size = 0;

  /// HOT PATH. False when not all of the `length` bytes at `pointer` lie in the arena.
  [[nodiscard, gnu::always_inline]] bool offset_of(const void* pointer, std::uint64_t length,
                                                   std::uint64_t& offset) const noexcept {
    offset = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(pointer) -
                                        reinterpret_cast<std::uintptr_t>(start));
    return contains(offset, length);
  }
  [[nodiscard, gnu::always_inline]] bool contains(std::uint64_t offset,
                                                  std::uint64_t length) const noexcept {
    return offset <= size && length <= size - offset;
  }
};

}  // namespace sublet::transport
