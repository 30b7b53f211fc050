#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sublet::base {

inline constexpr std::size_t kTokenBytes = 16;

/// Of one grant: whoever presents it may connect to its executor. Random, and a secret.
using Token = std::array<std::uint8_t, kTokenBytes>;

/// The only way to compare tokens: takes the same time wherever they differ. (A wrong length is no
/// secret.)
[[nodiscard]] inline bool same_token(std::span<const std::byte> a,
                                     std::span<const std::byte> b) noexcept {
  if (a.size() != kTokenBytes || b.size() != kTokenBytes) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < kTokenBytes; ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

[[nodiscard]] inline bool same_token(const Token& a, const Token& b) noexcept {
  return same_token(std::as_bytes(std::span(a)), std::as_bytes(std::span(b)));
}

}  // namespace sublet::base
