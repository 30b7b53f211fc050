#include <cli/top/top_view.hpp>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sublet::cli {
namespace {

TopSnapshot large_snapshot() {
  TopSnapshot snapshot;
  snapshot.address = "tcp:head:7700";
  snapshot.now_unix_ms = 1'000'000;
  for (std::uint32_t i = 0; i < 400; ++i) {
    NodeInfo node;
    node.name = "node" + std::to_string(1000 + i);
    node.state = i % 7 == 0 ? "draining" : "up";
    node.cores = 64;
    node.free_cores = i % 65;
    snapshot.nodes.push_back(node);
  }
  for (std::uint64_t i = 0; i < 1000; ++i) {
    LeaseInfo lease;
    lease.id = i + 1;
    lease.state = i % 10 == 0 ? "waiting" : "active";
    lease.owner = "user" + std::to_string(i % 12) + "@head";
    lease.cores = static_cast<std::uint32_t>(i % 16 + 1);
    lease.nodes = {"node1000", "node1001", "node1002", "node1003", "node1004"};
    lease.expires_unix_ms = 1'000'000 + static_cast<std::int64_t>(i) * 61'000;
    snapshot.leases.push_back(lease);
  }
  return snapshot;
}

TEST(TopScreen, NeverHasMoreThanTheTerminal) {
  const TopSnapshot snapshot = large_snapshot();
  for (std::size_t rows = 1; rows < 70; ++rows) {
    for (const std::size_t columns : {std::size_t{1}, std::size_t{20}, std::size_t{80}}) {
      TopView view;
      view.node_offset = 10'000;
      view.lease_offset = 10'000;
      const auto screen = top_screen(snapshot, view, {rows, columns});
      EXPECT_LE(screen.size(), rows);
      for (const std::string& line : screen) {
        std::size_t characters = 0;
        for (const char c : line) {
          characters += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
        }
        EXPECT_LE(characters, columns) << line;
      }
      EXPECT_LT(view.node_offset, 401U);
    }
  }
}

TEST(TopScreen, ShowsNothingThatATerminalObeys) {
  TopSnapshot snapshot;
  snapshot.nodes.resize(1);
  snapshot.nodes[0].name = "\x1b[2Jn";
  snapshot.leases.resize(1);
  snapshot.leases[0].owner = "\x1b]0;title\x07@x";
  snapshot.leases[0].reason = "a\nb";
  TopView view;
  view.filter.clear();
  for (const std::string& line : top_screen(snapshot, view, {40, 200})) {
    EXPECT_EQ(line.find_first_of("\x1b\x07\n"), std::string::npos) << line;
  }
}

TEST(TopKeys, AreTakenOneByOne) {
  TopView view;
  std::string keys = "nl\tr\x1b[B\x1b[6~x";
  while (!keys.empty()) EXPECT_TRUE(take_key(keys, view));
  EXPECT_EQ(view.nodes, NodeOrder::kUsed);
  EXPECT_EQ(view.leases, LeaseOrder::kLeft);
  EXPECT_TRUE(view.in_leases && view.reverse);
  EXPECT_EQ(view.lease_offset, 11U);
  keys = "q";
  EXPECT_FALSE(take_key(keys, view));
  keys = "/qn\x7f\r";
  while (!keys.empty()) EXPECT_TRUE(take_key(keys, view));
  EXPECT_EQ(view.filter, "q");
  EXPECT_FALSE(view.editing);
}

TEST(TopOrder, IsReadByItsName) {
  EXPECT_EQ(node_order("free"), NodeOrder::kFree);
  EXPECT_EQ(lease_order("user"), LeaseOrder::kUser);
  EXPECT_FALSE(node_order("user"));
  EXPECT_FALSE(lease_order(""));
}

}  // namespace
}  // namespace sublet::cli
