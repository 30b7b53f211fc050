#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sublet::wire {

/// The transports that data connections can be made over; their names are what is written and said.
enum class TransportKind : std::uint8_t { kShm, kVerbs, kFabric, kTcp };

inline constexpr std::array kAllTransports = {TransportKind::kShm, TransportKind::kVerbs,
                                              TransportKind::kFabric, TransportKind::kTcp};

/// "shm", "verbs", "fabric" or "tcp".
[[nodiscard]] constexpr const char* to_string(TransportKind kind) noexcept {
  switch (kind) {
    case TransportKind::kShm:
      return "shm";
    case TransportKind::kVerbs:
      return "verbs";
    case TransportKind::kFabric:
      return "fabric";
    case TransportKind::kTcp:
      return "tcp";
  }
  return "?";
}

[[nodiscard]] constexpr std::optional<TransportKind> transport_named(
    std::string_view name) noexcept {
  for (const TransportKind kind : kAllTransports) {
    if (name == to_string(kind)) return kind;
  }
  return std::nullopt;
}

}  // namespace sublet::wire
