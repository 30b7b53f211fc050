#pragma once

#include <sublet/result.hpp>
#include <sublet/session.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sublet::cli {

/// What a resource manager has told at one time.
struct TopSnapshot {
  std::string address;
  std::vector<NodeInfo> nodes;
  std::vector<LeaseInfo> leases;
  std::int64_t now_unix_ms = 0;
  std::string problem;  ///< Why there is none newer; empty: there is.
};

enum class NodeOrder : std::uint8_t { kName, kUsed, kFree, kState };
enum class LeaseOrder : std::uint8_t { kNumber, kLeft, kCores, kUser };

/// How it is shown: what keys change.
struct TopView {
  NodeOrder nodes = NodeOrder::kName;
  LeaseOrder leases = LeaseOrder::kNumber;
  bool reverse = false;
  bool in_leases = false;  ///< The list that arrow keys move in.
  std::size_t node_offset = 0;
  std::size_t lease_offset = 0;
  std::string filter;  ///< Nodes, users, states and lease numbers that have it in them.
  bool editing = false;
  bool paused = false;
};

struct ScreenSize {
  std::size_t rows = 24;
  std::size_t columns = 80;
};

[[nodiscard]] const char* to_string(NodeOrder order);
[[nodiscard]] const char* to_string(LeaseOrder order);
/// kInvalid names the orders that there are.
[[nodiscard]] Result<NodeOrder> node_order(const std::string& name);
[[nodiscard]] Result<LeaseOrder> lease_order(const std::string& name);

/// The lines of a screen, none wider or more than it has. Offsets beyond the end are brought back.
[[nodiscard]] std::vector<std::string> top_screen(const TopSnapshot& snapshot, TopView& view,
                                                  const ScreenSize& size);

/// All of it, for scripts: no limit of lines.
[[nodiscard]] std::string top_text(const TopSnapshot& snapshot, const TopView& view);

/// What a key does to the view; false: it ends `sublet top`. `keys` is what was read at once, of
/// which one key is taken away.
[[nodiscard]] bool take_key(std::string& keys, TopView& view);

}  // namespace sublet::cli
