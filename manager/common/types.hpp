#pragma once

// Words that both managers share. No I/O, no Cap'n Proto.

#include <wire/limits.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>

namespace sublet::manager {

/// Unix time as the managers count it: the wall clock when the process started, advanced by the
/// monotonic clock, so that a step of the wall clock ends no lease and loses no node.
using Time = std::chrono::sys_time<std::chrono::milliseconds>;
using std::chrono::milliseconds;

enum class LeaseId : std::uint64_t {};
enum class NodeNumber : std::uint32_t {};

/// One node's share of one part of a lease. On its node, lease and part alone name it.
struct GrantKey {
  LeaseId lease{};
  std::uint32_t part = 0;
  NodeNumber node{};

  auto operator<=>(const GrantKey&) const = default;
};

using Token = std::array<std::byte, wire::kTokenBytes>;

/// What a grant, or a whole lease, has consumed.
struct UsageRecord {
  std::uint64_t invocations = 0;
  std::uint64_t compute_ns = 0;
  std::uint64_t hot_poll_ns = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t core_ms = 0;  ///< Cores held times the wall time they were held.

  UsageRecord& operator+=(const UsageRecord& other) {
    invocations += other.invocations;
    compute_ns += other.compute_ns;
    hot_poll_ns += other.hot_poll_ns;
    bytes_in += other.bytes_in;
    bytes_out += other.bytes_out;
    core_ms += other.core_ms;
    return *this;
  }
};

}  // namespace sublet::manager
