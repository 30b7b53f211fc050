#pragma once

#include <sublet/lease.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace sublet::wire {

// Where the cores of a lease come from: for a resource manager, and for clients that do without.

enum class NodeNumber : std::uint32_t {};

/// What one node has free.
struct Capacity {
  NodeNumber node{};
  std::uint32_t cores = 0;
  std::uint64_t memory_bytes = 0;
  std::uint32_t widest_worker = 0;  ///< The most cores that one worker can have; 0: all of them.
  std::uint32_t gpus = 0;
};

/// Workers and memory of one part on one node.
struct Share {
  std::uint32_t part = 0;
  NodeNumber node{};
  std::uint32_t workers = 0;
  std::uint64_t memory_bytes = 0;
};

/// Finds cores and memory for all parts of `request`, or nothing. A part stays on one node where
/// that costs no further node; where it is split, its memory is divided in proportion to the
/// workers, none of which is split.
/// `own_node` is the client's, for sublet::Placement::kNear. Pure: the same input gives the same
/// answer.
std::optional<std::vector<Share>> place(const sublet::LeaseRequest& request,
                                        std::optional<NodeNumber> own_node,
                                        const std::vector<Capacity>& free);

}  // namespace sublet::wire
