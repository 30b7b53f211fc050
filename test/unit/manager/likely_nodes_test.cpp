// The few nodes that a request is looked up on first: the same choice as among all of them.
#include <resource_manager/node_table.hpp>
#include <wire/placement.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace sublet::manager {
namespace {

using wire::Share;

constexpr std::uint64_t kGibibyte = std::uint64_t{1} << 30;

class LikelyNodes : public testing::Test {
 protected:
  NodeNumber join(std::uint32_t cores, std::uint32_t gpus = 0) {
    const std::string name = "n" + std::to_string(count_++);
    NodeOffer offer{name, "boot/" + name, cores, 1024 * kGibibyte, "0", {"unix:@" + name}};
    for (std::uint32_t i = 0; i < gpus; ++i) {
      offer.gpus.push_back({"GPU-" + name + "-" + std::to_string(i)});
    }
    return table_.join(offer, now_).value_or_throw();
  }
  GrantTerms take(NodeNumber node, std::uint32_t cores) {
    GrantTerms terms;
    terms.key = {LeaseId{++leases_}, 0, node};
    terms.workers = cores;
    table_.take(terms);
    return terms;
  }
  static LeaseRequest ask(std::uint32_t cores, std::uint32_t parts, Placement placement) {
    LeaseRequest request;
    request.cores = cores;
    request.parts = parts;
    request.memory_bytes = kGibibyte;
    request.placement = placement;
    return request;
  }
  std::set<NodeNumber> likely(const LeaseRequest& request, std::optional<NodeNumber> own = {},
                              const std::set<NodeNumber>& excluded = {}) {
    std::set<NodeNumber> numbers;
    for (const Capacity& each : table_.likely(request, own, excluded)) numbers.insert(each.node);
    return numbers;
  }

  Time now_{};
  NodeTable table_{NodeTable::Limits{}};
  unsigned count_ = 0;
  std::uint64_t leases_ = 0;
};

/// Workers by node and part.
std::map<std::pair<NodeNumber, std::uint32_t>, std::uint32_t> shape(
    const std::optional<std::vector<Share>>& shares) {
  std::map<std::pair<NodeNumber, std::uint32_t>, std::uint32_t> workers;
  if (!shares) return workers;
  for (const Share& share : *shares) workers[{share.node, share.part}] += share.workers;
  return workers;
}

TEST_F(LikelyNodes, GiveThePlaceThatAllNodesWouldGive) {
  std::mt19937 random(12);
  const auto number = [&random](std::uint32_t least, std::uint32_t most) {
    return std::uniform_int_distribution<std::uint32_t>(least, most)(random);
  };
  std::vector<NodeNumber> nodes;
  nodes.reserve(200);
  for (int i = 0; i < 200; ++i) nodes.push_back(join(number(1, 64)));
  std::vector<GrantTerms> held;
  int compared = 0;
  for (int round = 0; round < 3000; ++round) {
    const auto placement = round % 3 == 0 ? Placement::kNear : Placement::kPack;
    const LeaseRequest request = ask(number(1, 16), number(1, 3), placement);
    const auto own = round % 2 == 0 ? std::optional(nodes[number(0, 199)]) : std::nullopt;
    const auto all = place(request, own, table_.available({}));
    if (const auto few = place(request, own, table_.likely(request, own, {})); few) {
      ++compared;
      EXPECT_EQ(shape(few), shape(all)) << round;
    }
    if (!all || held.size() > 600) {
      std::swap(held[number(0, static_cast<std::uint32_t>(held.size() - 1))], held.back());
      table_.give_back(held.back());
      held.pop_back();
      continue;
    }
    for (const Share& share : *all) held.push_back(take(share.node, share.workers));
  }
  EXPECT_GT(compared, 1500);
}

TEST_F(LikelyNodes, AreNoneThatMayNotBeGranted) {
  const NodeNumber draining = join(4);
  const NodeNumber full = join(4);
  const NodeNumber gone = join(4);
  const NodeNumber forgotten = join(4);
  const NodeNumber excluded = join(4);
  const NodeNumber good = join(4);
  table_.set_draining(draining, true);
  const GrantTerms all = take(full, 4);
  table_.disconnect(gone, now_);
  table_.forget(forgotten);
  for (const Placement placement : {Placement::kPack, Placement::kNear, Placement::kSpread}) {
    const LeaseRequest request = ask(2, 1, placement);
    EXPECT_EQ(likely(request, full, {excluded}), (std::set<NodeNumber>{good}));
  }
  table_.set_draining(draining, false);
  table_.give_back(all);
  EXPECT_EQ(likely(ask(4, 1, Placement::kPack)),
            (std::set<NodeNumber>{draining, full, excluded, good}));
}

TEST_F(LikelyNodes, HaveTheGpusThatAreAskedFor) {
  const NodeNumber own = join(8);
  for (int i = 0; i < 100; ++i) join(8);
  const NodeNumber one = join(8, 1);
  const NodeNumber two = join(8, 2);
  LeaseRequest request = ask(2, 1, Placement::kPack);
  request.gpus_per_worker = 1;
  EXPECT_EQ(likely(request), std::set<NodeNumber>{two}) << "which alone has room for both workers";
  request.placement = Placement::kNear;
  EXPECT_EQ(likely(request, own), std::set<NodeNumber>{two});
  EXPECT_EQ(likely(request, one), (std::set<NodeNumber>{one, two}));
  request.placement = Placement::kSpread;
  EXPECT_EQ(likely(request), (std::set<NodeNumber>{one, two}));
  GrantTerms held;
  held.key = {LeaseId{++leases_}, 0, two};
  held.workers = 1;
  held.gpus_per_worker = 1;
  table_.take(held);
  request.placement = Placement::kPack;
  EXPECT_TRUE(likely(request).empty());
}

TEST_F(LikelyNodes, AreFewHoweverManyThereAre) {
  for (int i = 0; i < 5000; ++i) join(64);
  EXPECT_LE(likely(ask(1, 1, Placement::kPack)).size(), 32u);
  EXPECT_LE(likely(ask(8, 4, Placement::kSpread)).size(), 64u);
}

}  // namespace
}  // namespace sublet::manager
