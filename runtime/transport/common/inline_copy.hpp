#pragma once

#include <transport/contract.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sublet::transport {

/// HOT PATH: copies up to kInlineBytes. The sizes of one and two words are common and worth a
/// branch each.
[[gnu::always_inline]] inline void copy_inline(void* to, const void* from,
                                               std::uint64_t size) noexcept {
  if (size == 8) {
    std::memcpy(to, from, 8);
  } else if (size == 16) {
    std::memcpy(to, from, 16);
  } else {
    std::memcpy(to, from, size);
  }
}

/// The worker's memory for the output of a call whose reply carries it. Owner: a server channel.
class InlineScratch {
 public:
  [[nodiscard]] std::byte* data() noexcept { return bytes_.data(); }

  /// HOT PATH: copies the first `size` bytes, at most kInlineBytes, of an output that lies in a
  /// scratch. Copies whole words, for which `to` must have room: the function has just written
  /// them, and a wider load would have to wait until its narrower stores have left the store buffer
  /// (15 to 20 cycles on every call).
  [[gnu::always_inline]] static void copy(std::byte* to, const void* output,
                                          std::uint64_t size) noexcept {
    const auto* from = static_cast<const std::byte*>(output);
    const std::uint64_t end = std::min<std::uint64_t>(size, kInlineBytes);
    for (std::uint64_t at = 0; at < end; at += sizeof(std::uint64_t)) {
      std::memcpy(to + at, from + at, sizeof(std::uint64_t));
    }
  }

 private:
  alignas(64) std::array<std::byte, 64> bytes_{};
};
static_assert(kInlineBytes % sizeof(std::uint64_t) == 0);

}  // namespace sublet::transport
