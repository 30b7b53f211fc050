#include <wire/limits.hpp>
#include <wire/placement.hpp>

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>
#include <set>

namespace sublet::manager {
namespace {

using wire::Capacity;
using wire::NodeNumber;
using wire::place;
using wire::Share;

constexpr std::uint64_t kMiB = 1u << 20;

Capacity node(std::uint32_t number, std::uint32_t cores, std::uint64_t memory = 1024 * kMiB) {
  return {NodeNumber{number}, cores, memory};
}

LeaseRequest ask(std::uint32_t cores, std::uint32_t parts, std::uint64_t memory,
                 Placement placement) {
  LeaseRequest wanted;
  wanted.cores = cores;
  wanted.parts = parts;
  wanted.memory_bytes = memory;
  wanted.placement = placement;
  return wanted;
}

std::set<NodeNumber> nodes_of(const std::vector<Share>& shares) {
  std::set<NodeNumber> nodes;
  for (const Share& share : shares) nodes.insert(share.node);
  return nodes;
}

/// Every part has exactly what was asked, no node gives more than it has, and no part has two
/// shares on one node.
void expect_sound(const LeaseRequest& wanted, const std::vector<Capacity>& free,
                  const std::vector<Share>& shares) {
  std::map<std::uint32_t, std::uint64_t> part_cores;
  std::map<std::uint32_t, std::uint64_t> part_memory;
  std::map<NodeNumber, std::uint64_t> node_cores;
  std::map<NodeNumber, std::uint64_t> node_memory;
  std::set<std::pair<std::uint32_t, NodeNumber>> seen;
  for (const Share& share : shares) {
    ASSERT_GT(share.workers, 0u);
    ASSERT_LE(share.workers, wire::kMaxWorkersPerExecutor);
    ASSERT_TRUE(seen.emplace(share.part, share.node).second);
    part_cores[share.part] += share.workers;
    part_memory[share.part] += share.memory_bytes;
    node_cores[share.node] += share.workers;
    node_memory[share.node] += share.memory_bytes;
  }
  ASSERT_EQ(part_cores.size(), wanted.parts);
  for (std::uint32_t part = 0; part < wanted.parts; ++part) {
    ASSERT_EQ(part_cores[part], wanted.cores) << "part " << part;
    ASSERT_EQ(part_memory[part], wanted.memory_bytes) << "part " << part;
  }
  for (const Capacity& capacity : free) {
    ASSERT_LE(node_cores[capacity.node] * wanted.cores_per_worker, capacity.cores);
    ASSERT_LE(node_cores[capacity.node] * wanted.gpus_per_worker, capacity.gpus);
    ASSERT_LE(node_memory[capacity.node], capacity.memory_bytes);
  }
}

TEST(Placement, PacksOntoTheSmallestNodeThatHoldsAll) {
  const std::vector<Capacity> free = {node(1, 16), node(2, 4), node(3, 8)};
  const auto shares = place(ask(2, 2, 0, Placement::kPack), std::nullopt, free);
  ASSERT_TRUE(shares);
  EXPECT_EQ(nodes_of(*shares), std::set<NodeNumber>{NodeNumber{2}});
}

TEST(Placement, PacksOntoAsFewNodesAsPossible) {
  const std::vector<Capacity> free = {node(1, 3), node(2, 3), node(3, 3), node(4, 2)};
  const LeaseRequest wanted = ask(2, 3, 6 * kMiB, Placement::kPack);
  const auto shares = place(wanted, std::nullopt, free);
  ASSERT_TRUE(shares);
  EXPECT_EQ(nodes_of(*shares).size(), 2u);
  expect_sound(wanted, free, *shares);
}

TEST(Placement, KeepsPartsWholeWhereNodesAllow) {
  const auto shares = place(ask(2, 2, 0, Placement::kPack), std::nullopt, {node(1, 3), node(2, 3)});
  ASSERT_TRUE(shares);
  EXPECT_EQ(shares->size(), 2u);
}

TEST(Placement, SpreadsOverAllNodes) {
  const std::vector<Capacity> free = {node(1, 16), node(2, 16), node(3, 16), node(4, 16)};
  for (const auto& [cores, parts] : {std::pair{4u, 1u}, {1u, 4u}, {2u, 2u}, {2u, 4u}, {3u, 5u}}) {
    const LeaseRequest wanted = ask(cores, parts, 10 * kMiB, Placement::kSpread);
    const auto shares = place(wanted, std::nullopt, free);
    ASSERT_TRUE(shares);
    EXPECT_EQ(nodes_of(*shares).size(), 4u) << cores << " cores in each of " << parts;
    expect_sound(wanted, free, *shares);
  }
}

TEST(Placement, SpreadKeepsPartsWholeWhenThereAreEnoughOfThem) {
  const auto shares =
      place(ask(2, 4, 0, Placement::kSpread), std::nullopt, {node(1, 8), node(2, 8), node(3, 8)});
  ASSERT_TRUE(shares);
  EXPECT_EQ(shares->size(), 4u);
}

TEST(Placement, TakesTheClientsNodeFirst) {
  const LeaseRequest wanted = ask(1, 3, 0, Placement::kNear);
  const auto shares = place(wanted, NodeNumber{2}, {node(1, 16), node(2, 2), node(3, 8)});
  ASSERT_TRUE(shares);
  EXPECT_EQ(std::count_if(shares->begin(), shares->end(),
                          [](const Share& share) { return share.node == NodeNumber{2}; }),
            2);
}

TEST(Placement, NearWorksForAClientOnNoNode) {
  EXPECT_TRUE(place(ask(1, 1, 0, Placement::kNear), std::nullopt, {node(1, 1)}));
}

TEST(Placement, DividesMemoryInProportionToCores) {
  const LeaseRequest wanted = ask(4, 1, 1000, Placement::kPack);
  const auto shares = place(wanted, std::nullopt, {node(1, 3), node(2, 1)});
  ASSERT_TRUE(shares);
  for (const Share& share : *shares) EXPECT_EQ(share.memory_bytes, share.workers * 250u);
}

TEST(Placement, FitsExactlyWhenTheMemoryDoesNotDivideByTheCores) {
  const std::uint64_t memory = 1024 * kMiB;
  const LeaseRequest wanted = ask(3, 1, memory, Placement::kPack);
  EXPECT_TRUE(place(wanted, std::nullopt, {node(1, 3, memory)}));
  EXPECT_FALSE(place(wanted, std::nullopt, {node(1, 3, memory - 1)}));
}

TEST(Placement, RefusesWhenOnlyMemoryIsShort) {
  EXPECT_FALSE(
      place(ask(1, 4, 300 * kMiB, Placement::kPack), std::nullopt, {node(1, 8, 1024 * kMiB)}));
}

TEST(Placement, SplitsAPartThatNoExecutorHolds) {
  const LeaseRequest wanted = ask(1500, 1, kMiB, Placement::kPack);
  const std::vector<Capacity> free = {node(1, 4096), node(2, 4096)};
  const auto shares = place(wanted, std::nullopt, free);
  ASSERT_TRUE(shares);
  expect_sound(wanted, free, *shares);
}

TEST(Placement, SplitsNoWorker) {
  LeaseRequest wanted = ask(1, 1, 0, Placement::kPack);
  wanted.cores_per_worker = 4;
  const std::vector<Capacity> free = {node(1, 3), node(2, 3), node(3, 3)};
  EXPECT_FALSE(place(wanted, std::nullopt, free));
  wanted.cores = 3;
  wanted.cores_per_worker = 2;
  const auto shares = place(wanted, std::nullopt, free);
  ASSERT_TRUE(shares);
  EXPECT_EQ(nodes_of(*shares).size(), 3u) << "the third core of each node is of no use";
  wanted.cores = 4;
  EXPECT_FALSE(place(wanted, std::nullopt, free));
}

TEST(Placement, GivesAWorkerNoCoreTwice) {
  LeaseRequest wanted = ask(2, 1, 0, Placement::kNear);
  wanted.cores_per_worker = 3;
  std::vector<Capacity> free = {node(1, 16), node(2, 6)};
  free[0].widest_worker = 2;  // each of two cores, eight times
  free[1].widest_worker = 6;
  const auto shares = place(wanted, NodeNumber{1}, free);
  ASSERT_TRUE(shares);
  EXPECT_EQ(nodes_of(*shares), std::set<NodeNumber>{NodeNumber{2}});
}

TEST(Placement, GivesWorkersToNodesThatHaveTheirGpus) {
  std::vector<Capacity> free = {node(1, 16), node(2, 8), node(3, 4)};
  free[1].gpus = 2;
  free[2].gpus = 4;
  LeaseRequest wanted = ask(2, 1, 0, Placement::kPack);
  wanted.gpus_per_worker = 2;
  auto shares = place(wanted, std::nullopt, free);
  ASSERT_TRUE(shares);
  expect_sound(wanted, free, *shares);
  EXPECT_EQ(nodes_of(*shares), std::set<NodeNumber>{NodeNumber{3}});
  wanted.cores = 3;
  shares = place(wanted, NodeNumber{1}, free);
  ASSERT_TRUE(shares);
  expect_sound(wanted, free, *shares);
  EXPECT_EQ(nodes_of(*shares), (std::set<NodeNumber>{NodeNumber{2}, NodeNumber{3}}));
  wanted.cores = 4;
  EXPECT_FALSE(place(wanted, std::nullopt, free)) << "eight GPUs, and there are six";
  wanted.cores = 1;
  wanted.gpus_per_worker = 5;
  EXPECT_FALSE(place(wanted, std::nullopt, free)) << "they are of one node";
}

TEST(Placement, RefusesNothingThatFitsAndOversellsNothing) {
  std::mt19937 random(20240517);
  const auto pick = [&random](unsigned low, unsigned high) {
    return std::uniform_int_distribution<unsigned>(low, high)(random);
  };
  for (int round = 0; round < 20000; ++round) {
    std::vector<Capacity> free;
    std::uint64_t workers = 0;
    for (unsigned i = 0, count = pick(0, 6); i < count; ++i) {
      free.push_back(node(i + 1, pick(0, 9), pick(0, 5000)));
      free.back().gpus = pick(0, 4);
    }
    LeaseRequest wanted = ask(pick(1, 6), pick(1, 6), std::uint64_t{pick(0, 3)} * pick(0, 700),
                              static_cast<Placement>(pick(0, 2)));
    wanted.cores_per_worker = pick(1, 3);
    wanted.gpus_per_worker = pick(0, 2) == 0 ? pick(1, 2) : 0;
    for (const Capacity& capacity : free) {
      const std::uint32_t by_gpus =
          wanted.gpus_per_worker == 0 ? ~0u : capacity.gpus / wanted.gpus_per_worker;
      workers += std::min(capacity.cores / wanted.cores_per_worker, by_gpus);
    }
    std::optional<NodeNumber> own_node;
    if (pick(0, 1) == 1) own_node = NodeNumber{pick(1, 7)};
    const auto shares = place(wanted, own_node, free);
    if (shares) {
      expect_sound(wanted, free, *shares);
    } else if (wanted.memory_bytes == 0) {
      ASSERT_LT(workers, std::uint64_t{wanted.cores} * wanted.parts) << "round " << round;
    }
    if (HasFatalFailure()) FAIL() << "in round " << round;
  }
}

}  // namespace
}  // namespace sublet::manager
