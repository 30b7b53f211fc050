#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sublet::transport {

/// The transports of this build.
enum class Kind : std::uint8_t { kShm, kVerbs, kFabric, kTcp };

inline constexpr std::array kAllKinds = {Kind::kShm, Kind::kVerbs, Kind::kFabric, Kind::kTcp};

/// "shm", "verbs", "fabric" or "tcp".
[[nodiscard]] constexpr const char* to_string(Kind kind) noexcept {
  switch (kind) {
    case Kind::kShm:
      return "shm";
    case Kind::kVerbs:
      return "verbs";
    case Kind::kFabric:
      return "fabric";
    case Kind::kTcp:
      return "tcp";
  }
  return "?";
}

[[nodiscard]] constexpr std::optional<Kind> kind_named(std::string_view name) noexcept {
  for (const Kind kind : kAllKinds) {
    if (name == to_string(kind)) return kind;
  }
  return std::nullopt;
}

}  // namespace sublet::transport
