#pragma once

// Words that both managers share. No I/O, no Cap'n Proto.

#include <base/token.hpp>
#include <sublet/lease.hpp>
#include <wire/placement.hpp>

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>

namespace sublet::manager {

/// Unix time as the managers count it: the wall clock when the process started, advanced by the
/// monotonic clock, so that a step of the wall clock ends no lease and loses no node.
using Time = std::chrono::sys_time<std::chrono::milliseconds>;
using std::chrono::milliseconds;

using base::same_token;
using base::Token;

enum class LeaseId : std::uint64_t {};
using wire::NodeNumber;

/// As people read it and the wire carries it.
[[nodiscard]] constexpr std::uint64_t number(LeaseId lease) noexcept {
  return static_cast<std::uint64_t>(lease);
}

/// One node's share of one part of a lease. On its node, lease and part alone name it.
struct GrantKey {
  LeaseId lease{};
  std::uint32_t part = 0;
  NodeNumber node{};

  auto operator<=>(const GrantKey&) const = default;
};

/// "lease 17 part 3".
[[nodiscard]] inline std::string name_of(const GrantKey& key) {
  return "lease " + std::to_string(number(key.lease)) + " part " + std::to_string(key.part);
}

[[nodiscard]] constexpr std::int64_t to_unix_ms(Time time) noexcept {
  return time.time_since_epoch().count();
}

}  // namespace sublet::manager
