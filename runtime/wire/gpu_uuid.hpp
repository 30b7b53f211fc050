#pragma once

#include <wire/limits.hpp>

#include <algorithm>
#include <string_view>

namespace sublet::wire {

// A GPU is named by its UUID, as its maker's libraries have it: numbers differ between libraries,
// and change when a GPU fails. NVIDIA: GPU-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9, or MIG-... of a
// slice of one. AMD: GPU- and 16 hexadecimal digits.

inline constexpr const char* kGpuUuidForm =
    "it begins with GPU- or MIG- and has at most 63 letters, digits, - and /";

/// It can be told to a library and to people: nothing in it separates a list.
[[nodiscard]] constexpr bool is_gpu_uuid(std::string_view text) noexcept {
  if (!text.starts_with("GPU-") && !text.starts_with("MIG-")) return false;
  if (text.size() <= 4 || text.size() > kMaxGpuUuid) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '/';
  });
}

/// For ROCR_VISIBLE_DEVICES; others are for CUDA_VISIBLE_DEVICES.
[[nodiscard]] constexpr bool is_amd_gpu(std::string_view uuid) noexcept {
  constexpr std::string_view kStart = "GPU-";
  constexpr std::size_t kDigits = 16;
  return uuid.size() == kStart.size() + kDigits && uuid.starts_with(kStart) &&
         std::all_of(uuid.begin() + kStart.size(), uuid.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
         });
}

}  // namespace sublet::wire
