// Which cores wide workers get, on topologies that hwloc makes up.

#include <executor_manager/core_choice.hpp>
#include <executor_manager/core_inventory.hpp>
#include <topology/topology.hpp>

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

CoreInventory::Offer offer_of(const std::string& topology, std::uint32_t oversubscribe = 1,
                              const std::set<unsigned>& last_wishes = {}) {
  const auto machine = topology::Topology::synthetic(topology).value_or_throw();
  CoreInventory::Offer offer;
  offer.oversubscribe = oversubscribe;
  offer.all = machine.cpuset().to_list();
  for (const bool last : {false, true}) {
    for (const topology::Core& core : machine.cores()) {
      if (last_wishes.contains(core.index) != last) continue;
      offer.cpusets.push_back(core.cpuset.to_list());
      offer.places.push_back({core.numa_node, core.cache, last});
    }
  }
  return offer;
}

using Strings = std::vector<std::string>;

Strings cpusets(CoreInventory& inventory, std::uint32_t workers, std::uint32_t width,
                std::vector<CoreInventory::Reservation>& kept) {
  auto reservation = inventory.reserve(workers, 0, width);
  EXPECT_TRUE(reservation) << reservation.error().what();
  if (!reservation) return {};
  kept.push_back(std::move(*reservation));
  return inventory.cpusets(kept.back());
}

TEST(CoreChoice, KeepsAWorkerOnOneNumaNode) {
  CoreInventory inventory(offer_of("numa:2 core:4 pu:1"));
  std::vector<CoreInventory::Reservation> kept;
  EXPECT_EQ(cpusets(inventory, 1, 1, kept), Strings{"0"});
  // Three are left on the first node.
  EXPECT_EQ(cpusets(inventory, 1, 4, kept), Strings{"4-7"});
  EXPECT_EQ(cpusets(inventory, 1, 3, kept), Strings{"1-3"});
}

TEST(CoreChoice, GivesAWorkerWholeCores) {
  CoreInventory inventory(offer_of("numa:2 core:2 pu:2"));
  std::vector<CoreInventory::Reservation> kept;
  EXPECT_EQ(cpusets(inventory, 2, 2, kept), (Strings{"0-3", "4-7"}));
}

TEST(CoreChoice, TakesTheSmallestGapThatIsLargeEnough) {
  CoreInventory inventory(offer_of("numa:2 core:4 pu:1"));
  std::vector<CoreInventory::Reservation> kept;
  EXPECT_EQ(cpusets(inventory, 1, 2, kept), Strings{"0-1"});
  EXPECT_EQ(cpusets(inventory, 1, 2, kept), Strings{"2-3"}) << "the other node stays whole";
  EXPECT_EQ(cpusets(inventory, 1, 4, kept), Strings{"4-7"});
}

TEST(CoreChoice, PrefersCoresThatShareACache) {
  CoreInventory inventory(offer_of("numa:1 l3:2 core:4 pu:1"));
  std::vector<CoreInventory::Reservation> kept;
  EXPECT_EQ(cpusets(inventory, 3, 1, kept), (Strings{"0", "1", "2"}));
  EXPECT_EQ(cpusets(inventory, 1, 2, kept), Strings{"4-5"});
  EXPECT_EQ(cpusets(inventory, 1, 3, kept), Strings{"3,6-7"}) << "one NUMA node at least";
}

TEST(CoreChoice, SpansNumaNodesOnlyWhenAWorkerIsLargerThanOne) {
  CoreInventory inventory(offer_of("numa:2 core:4 pu:1"));
  EXPECT_EQ(inventory.widest_worker(), 8u);
  std::vector<CoreInventory::Reservation> kept;
  EXPECT_EQ(cpusets(inventory, 1, 6, kept), Strings{"0-5"});
  EXPECT_EQ(cpusets(inventory, 1, 2, kept), Strings{"6-7"});
  EXPECT_EQ(inventory.free_cores(), 0u);
  kept.clear();
  EXPECT_EQ(inventory.free_cores(), 8u);
}

TEST(CoreChoice, LeavesTheCoresOfRanksForLast) {
  // Ranks run on the first core of each node.
  CoreInventory inventory(offer_of("numa:2 core:3 pu:1", 1, {0, 3}));
  std::vector<CoreInventory::Reservation> kept;
  EXPECT_EQ(cpusets(inventory, 2, 2, kept), (Strings{"1-2", "4-5"}));
  EXPECT_EQ(cpusets(inventory, 1, 2, kept), Strings{"0,3"});
}

TEST(CoreChoice, LeavesTheCoreOfARankForLastThoughItIsInTheSmallestGap) {
  CoreInventory inventory(offer_of("numa:2 core:3 pu:1", 1, {0}));
  std::vector<CoreInventory::Reservation> kept;
  EXPECT_EQ(cpusets(inventory, 1, 1, kept), Strings{"1"});
  EXPECT_EQ(cpusets(inventory, 1, 2, kept), Strings{"3-4"});
  EXPECT_EQ(cpusets(inventory, 1, 2, kept), Strings{"0,2"});
}

TEST(CoreChoice, IsNotCloseAtTheCostOfAnotherWorker) {
  CoreInventory inventory({{"0", "1", "2"}, 2, 0, "0-2", {{0, 0}, {0, 0}, {1, 1}}});
  std::vector<CoreInventory::Reservation> kept;
  EXPECT_EQ(cpusets(inventory, 1, 2, kept), Strings{"0-1"});
  // The same two once more would leave the third one twice, which is no worker.
  EXPECT_EQ(cpusets(inventory, 2, 2, kept).size(), 2u);
  EXPECT_EQ(inventory.free_cores(), 0u);
}

TEST(CoreChoice, GivesAWorkerDifferentCoresHoweverOftenTheyAreOffered) {
  CoreInventory inventory(offer_of("numa:1 core:2 pu:1", 4));
  EXPECT_EQ(inventory.cores(), 8u);
  EXPECT_EQ(inventory.widest_worker(), 2u);
  const auto refused = inventory.reserve(1, 0, 3);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kOverloaded);
  EXPECT_STREQ(refused.error().what(),
               "asked for 1 x 3 different cores of this node; its 2 cores have room for 0 x 3");
  EXPECT_EQ(inventory.free_cores(), 8u);
  std::vector<CoreInventory::Reservation> kept;
  EXPECT_EQ(cpusets(inventory, 4, 2, kept), (Strings{"0-1", "0-1", "0-1", "0-1"}));
}

TEST(CoreChoice, PinsAWorkerNowhereWhenSomebodyElseHasOneOfItsCores) {
  std::set<std::string> ours;
  const std::set<std::string> theirs{"1"};
  CoreInventory inventory(
      offer_of("numa:1 core:4 pu:1"),
      {[&](const std::string& core) { return !theirs.contains(core) && ours.insert(core).second; },
       [&](const std::string& core) { ours.erase(core); }});
  std::vector<CoreInventory::Reservation> kept;
  EXPECT_EQ(cpusets(inventory, 1, 2, kept), Strings{"0,2"});
  EXPECT_EQ(ours, (std::set<std::string>{"0", "2"}));
  EXPECT_EQ(cpusets(inventory, 1, 2, kept), Strings{"0-3"});
  EXPECT_EQ(ours, (std::set<std::string>{"0", "2", "3"}));
  kept.clear();
  EXPECT_TRUE(ours.empty());
}

/// As the resource manager counts: being close together must not cost a worker.
TEST(CoreChoice, HasRoomForAsManyWorkersAsCoresMakeOnAFreshNode) {
  for (const char* topology : {"numa:2 core:3 pu:1", "numa:1 core:5 pu:1", "numa:3 core:2 pu:1",
                               "numa:2 l3:2 core:3 pu:1"}) {
    for (std::uint32_t oversubscribe = 1; oversubscribe <= 4; ++oversubscribe) {
      CoreInventory inventory(offer_of(topology, oversubscribe));
      for (std::uint32_t width = 1; width <= inventory.widest_worker(); ++width) {
        std::vector<CoreInventory::Reservation> kept;
        for (std::uint32_t i = 0; i < inventory.cores() / width; ++i) {
          auto reservation = inventory.reserve(1, 0, width);
          ASSERT_TRUE(reservation) << topology << ", each " << oversubscribe << " times, width "
                                   << width << ": " << reservation.error().what();
          const std::set<std::uint32_t> different(reservation->cores().begin(),
                                                  reservation->cores().end());
          ASSERT_EQ(different.size(), width);
          kept.push_back(std::move(*reservation));
        }
        EXPECT_LT(inventory.free_cores(), width);
      }
    }
  }
}

TEST(CoreChoice, NeverGivesACoreTooOftenOrForgetsOne) {
  std::mt19937 random(20261130);
  const auto pick = [&](std::uint32_t low, std::uint32_t high) {
    return std::uniform_int_distribution<std::uint32_t>(low, high)(random);
  };
  for (std::uint32_t oversubscribe = 1; oversubscribe <= 3; ++oversubscribe) {
    CoreInventory inventory(offer_of("numa:2 l3:2 core:2 pu:1", oversubscribe));
    std::vector<CoreInventory::Reservation> kept;
    for (int round = 0; round < 3000; ++round) {
      if (!kept.empty() && pick(0, 2) == 0) {
        kept.erase(kept.begin() + pick(0, static_cast<std::uint32_t>(kept.size()) - 1));
      } else if (auto got = inventory.reserve(pick(1, 3), 0, pick(1, 4))) {
        kept.push_back(std::move(*got));
      }
      std::map<std::uint32_t, std::uint32_t> users;
      std::uint32_t taken = 0;
      for (const auto& reservation : kept) {
        taken += static_cast<std::uint32_t>(reservation.cores().size());
        for (const std::uint32_t core : reservation.cores()) ++users[core];
      }
      for (const auto& [core, count] : users) ASSERT_LE(count, oversubscribe) << core;
      ASSERT_EQ(inventory.free_cores() + taken, inventory.cores());
    }
  }
}

}  // namespace
}  // namespace sublet::manager
