// Which GPUs workers get, and which cores beside them.

#include <executor_manager/core_inventory.hpp>

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {
namespace {

using Strings = std::vector<std::string>;

/// Two packages of four cores and two GPUs each: GPU-a and GPU-b are near cores 0-3, GPU-c and
/// GPU-d near 4-7.
CoreInventory::Offer two_packages(std::uint32_t oversubscribe = 1) {
  CoreInventory::Offer offer;
  offer.oversubscribe = oversubscribe;
  offer.all = "0-7";
  offer.memory_bytes = 1000;
  for (unsigned core = 0; core < 8; ++core) {
    offer.cpusets.push_back(std::to_string(core));
    offer.places.push_back({core / 4, core / 4});
  }
  const std::vector<std::uint32_t> first{0, 1, 2, 3};
  const std::vector<std::uint32_t> second{4, 5, 6, 7};
  offer.gpus = {{{"GPU-a"}, first}, {{"GPU-b"}, first}, {{"GPU-c"}, second}, {{"GPU-d"}, second}};
  return offer;
}

class GpuChoice : public testing::Test {
 protected:
  /// Kept until the test ends.
  WorkerPlaces take(std::uint32_t workers, std::uint32_t cores, std::uint32_t gpus) {
    auto reservation = inventory_.reserve({workers, cores, gpus, 0});
    EXPECT_TRUE(reservation) << reservation.error().what();
    if (!reservation) return {};
    kept_.push_back(std::move(*reservation));
    return {inventory_.cpusets(kept_.back()), inventory_.gpus(kept_.back())};
  }

  CoreInventory inventory_{two_packages()};
  std::vector<CoreInventory::Reservation> kept_;
};

TEST_F(GpuChoice, GivesNoneWhereNoneIsAskedFor) {
  EXPECT_EQ(take(4, 1, 0).gpus, Strings{});
  EXPECT_EQ(inventory_.free_gpus(), 4u);
}

TEST_F(GpuChoice, GivesAGpuOnceAndTakesItBack) {
  EXPECT_EQ(take(1, 1, 1).gpus, Strings{"GPU-a"});
  EXPECT_EQ(take(1, 1, 1).gpus, Strings{"GPU-b"});
  EXPECT_EQ(inventory_.free_gpus(), 2u);
  kept_.erase(kept_.begin());
  EXPECT_EQ(inventory_.free_gpus(), 3u);
  EXPECT_EQ(take(1, 1, 1).gpus, Strings{"GPU-a"});
}

TEST_F(GpuChoice, TakesTheCoresThatAreNearest) {
  take(1, 1, 2);  // both of the first package
  const WorkerPlaces second = take(1, 2, 1);
  EXPECT_EQ(second.gpus, Strings{"GPU-c"});
  EXPECT_EQ(second.cpusets, Strings{"4-5"});
}

TEST_F(GpuChoice, KeepsTheOrderOfWorkersInGpusAndCores) {
  const WorkerPlaces places = take(2, 1, 2);
  EXPECT_EQ(places.gpus, (Strings{"GPU-a", "GPU-b", "GPU-c", "GPU-d"}));
  EXPECT_EQ(places.cpusets, (Strings{"0", "4"})) << "each beside its own";
}

TEST_F(GpuChoice, KeepsAPairOfGpusForWhoNeedsTwo) {
  EXPECT_EQ(take(1, 1, 1).gpus, Strings{"GPU-a"});
  EXPECT_EQ(take(1, 1, 1).gpus, Strings{"GPU-b"}) << "the smallest group that will do";
  EXPECT_EQ(take(1, 1, 2).gpus, (Strings{"GPU-c", "GPU-d"}));
}

TEST_F(GpuChoice, PrefersGpusWhoseCoresAreFree) {
  take(1, 4, 0);  // the cores of the first package
  const WorkerPlaces places = take(1, 2, 1);
  EXPECT_EQ(places.gpus, Strings{"GPU-c"});
  EXPECT_EQ(places.cpusets, Strings{"4-5"});
}

TEST_F(GpuChoice, TakesDistantOnesRatherThanNone) {
  take(1, 1, 1);
  EXPECT_EQ(take(1, 1, 3).gpus, (Strings{"GPU-b", "GPU-c", "GPU-d"}));
  // Its cores are elsewhere where the near ones do not suffice.
  kept_.clear();
  take(1, 3, 0);
  EXPECT_EQ(take(1, 5, 1).cpusets, Strings{"3-7"});
}

TEST_F(GpuChoice, SaysWhatWasAskedAndWhatIsFree) {
  take(1, 1, 3);
  const auto refused = inventory_.reserve({2, 1, 1, 0});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kOverloaded);
  EXPECT_STREQ(refused.error().what(), "asked for 2 GPUs of this node; free are 1 of its 4");
  EXPECT_EQ(inventory_.free_cores(), 7u) << "a refusal changes nothing";
}

TEST(GpuInventory, GivesBackTheGpusOfAGrantThatHasNotEnoughCores) {
  CoreInventory inventory(two_packages(2));
  const auto refused = inventory.reserve({1, 9, 2, 0});  // 16 are offered, 8 are different
  ASSERT_FALSE(refused);
  EXPECT_EQ(inventory.free_gpus(), 4u);
  EXPECT_EQ(inventory.free_cores(), 16u);
}

TEST(GpuInventory, LeavesGpusThatAnotherManagerHas) {
  std::set<std::string> ours;
  const std::set<std::string> theirs{"GPU-a", "GPU-c"};
  CoreInventory inventory(two_packages(),
                          {.lock = {},
                           .unlock = {},
                           .lock_gpu =
                               [&](const std::string& uuid) {
                                 return !theirs.contains(uuid) && ours.insert(uuid).second;
                               },
                           .unlock_gpu = [&](const std::string& uuid) { ours.erase(uuid); }});
  {
    const auto two = inventory.reserve({2, 1, 1, 0});
    ASSERT_TRUE(two) << two.error().what();
    EXPECT_EQ(inventory.gpus(*two), (Strings{"GPU-b", "GPU-d"}));
    EXPECT_EQ(ours.size(), 2u);
  }
  EXPECT_TRUE(ours.empty());
  const auto three = inventory.reserve({3, 1, 1, 0});
  ASSERT_FALSE(three);
  EXPECT_STREQ(three.error().what(),
               "asked for 3 GPUs of this node; 2 of those that are free are used by another job's "
               "private manager");
  EXPECT_TRUE(ours.empty()) << "what was locked for it is free again";
  EXPECT_EQ(inventory.free_gpus(), 4u);
}

/// Whatever comes and goes, no two grants have a GPU in common, and what can be had is had.
TEST(GpuInventory, NeverGivesAGpuTwice) {
  std::mt19937 random(20261201);
  const auto pick = [&random](unsigned low, unsigned high) {
    return std::uniform_int_distribution<unsigned>(low, high)(random);
  };
  CoreInventory inventory(two_packages(3));
  std::vector<CoreInventory::Reservation> kept;
  for (int round = 0; round < 20'000; ++round) {
    if (!kept.empty() && pick(0, 2) == 0) {
      kept.erase(kept.begin() + pick(0, static_cast<unsigned>(kept.size()) - 1));
      continue;
    }
    const CoreInventory::Amount amount{pick(1, 3), pick(1, 2), pick(0, 2), 0};
    const std::uint32_t free = inventory.free_gpus();
    auto reservation = inventory.reserve(amount);
    if (!reservation) {
      ASSERT_EQ(inventory.free_gpus(), free);
      continue;
    }
    ASSERT_EQ(reservation->gpus().size(), amount.workers * amount.gpus_per_worker);
    kept.push_back(std::move(*reservation));
    std::set<std::string> held;
    for (const auto& one : kept) {
      for (const std::string& uuid : inventory.gpus(one)) {
        ASSERT_TRUE(held.insert(uuid).second) << uuid << " is given twice, round " << round;
      }
    }
    ASSERT_EQ(inventory.free_gpus(), 4 - held.size());
  }
  kept.clear();
  EXPECT_EQ(inventory.free_gpus(), 4u);
}

}  // namespace
}  // namespace sublet::manager
