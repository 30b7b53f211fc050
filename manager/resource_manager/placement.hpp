#pragma once

#include <common/types.hpp>
#include <sublet/lease.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace sublet::manager {

/// What one node has free.
struct Capacity {
  NodeNumber node{};
  std::uint32_t cores = 0;
  std::uint64_t memory_bytes = 0;
};

/// Cores and memory of one part on one node.
struct Share {
  std::uint32_t part = 0;
  NodeNumber node{};
  std::uint32_t cores = 0;
  std::uint64_t memory_bytes = 0;
};

struct PlacementAsk {
  std::uint32_t cores = 1;  ///< Per part.
  std::uint32_t parts = 1;
  std::uint64_t memory_bytes = 0;  ///< Per part, divided over its shares in proportion to cores.
  Placement placement = Placement::kPack;
  std::optional<NodeNumber> own_node;  ///< The client's, for kNear.
};

/// Finds cores and memory for all parts, or nothing. A part stays on one node where that costs no
/// further node. Pure: the same input gives the same answer.
std::optional<std::vector<Share>> place(const PlacementAsk& ask, const std::vector<Capacity>& free);

}  // namespace sublet::manager
