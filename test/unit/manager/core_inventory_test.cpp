#include <executor_manager/core_inventory.hpp>

#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>

namespace sublet::manager {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;

CoreInventory::Offer four_cores(std::uint32_t oversubscribe = 1) {
  return {{"0", "1", "2", "3"}, oversubscribe, 1024 * kMiB};
}

TEST(CoreInventory, GivesDisjointCores) {
  CoreInventory inventory(four_cores());
  const auto first = inventory.reserve(2, 0);
  const auto second = inventory.reserve(2, 0);
  ASSERT_TRUE(first && second);
  std::set<std::uint32_t> cores(first->cores().begin(), first->cores().end());
  cores.insert(second->cores().begin(), second->cores().end());
  EXPECT_EQ(cores.size(), 4u);
  EXPECT_EQ(inventory.free_cores(), 0u);
}

TEST(CoreInventory, TakesBackWhatAReservationHeld) {
  CoreInventory inventory(four_cores());
  {
    const auto reservation = inventory.reserve(3, 100 * kMiB);
    ASSERT_TRUE(reservation);
    EXPECT_EQ(inventory.free_cores(), 1u);
    EXPECT_EQ(inventory.free_memory_bytes(), 924 * kMiB);
  }
  EXPECT_EQ(inventory.free_cores(), 4u);
  EXPECT_EQ(inventory.free_memory_bytes(), 1024 * kMiB);
}

TEST(CoreInventory, SaysWhatWasAskedAndWhatIsFree) {
  CoreInventory inventory(four_cores());
  const auto cores = inventory.reserve(5, 0);
  ASSERT_FALSE(cores);
  EXPECT_EQ(cores.error().kind(), ErrorKind::kOverloaded);
  EXPECT_STREQ(cores.error().what(),
               "asked for 5 cores and 0 MiB of this node; free are 4 cores and 1024 MiB");
  EXPECT_FALSE(inventory.reserve(1, 1025 * kMiB));
  EXPECT_FALSE(inventory.reserve(0, 0));
}

TEST(CoreInventory, OffersEachCoreAsOftenAsSaid) {
  CoreInventory inventory(four_cores(2));
  EXPECT_EQ(inventory.cores(), 8u);
  const auto first = inventory.reserve(3, 0);
  const auto second = inventory.reserve(5, 0);
  ASSERT_TRUE(first && second);
  std::multiset<std::uint32_t> cores(first->cores().begin(), first->cores().end());
  cores.insert(second->cores().begin(), second->cores().end());
  for (std::uint32_t core = 0; core < 4; ++core) EXPECT_EQ(cores.count(core), 2u);
  EXPECT_FALSE(inventory.reserve(1, 0));
}

TEST(CoreInventory, SharesACoreOnlyWhenNoOtherIsFree) {
  CoreInventory inventory(four_cores(2));
  std::optional<CoreInventory::Reservation> first = std::move(*inventory.reserve(2, 0));
  const auto second = inventory.reserve(2, 0);
  first.reset();
  const auto third = inventory.reserve(2, 0);
  ASSERT_TRUE(second && third);
  for (const std::uint32_t core : third->cores()) {
    EXPECT_EQ(std::count(second->cores().begin(), second->cores().end(), core), 0);
  }
}

/// Cores that others have.
struct Others {
  std::set<std::string> theirs;
  std::set<std::string> ours{};

  CoreInventory::Exclusion exclusion() {
    return {[this](const std::string& core) {
              return !theirs.contains(core) && ours.insert(core).second;
            },
            [this](const std::string& core) { ours.erase(core); }};
  }
};

CoreInventory::Offer four_shared_cores() {
  CoreInventory::Offer offer = four_cores();
  offer.all = "0-3";
  return offer;
}

std::multiset<std::string> cpusets(const CoreInventory& inventory,
                                   const CoreInventory::Reservation& reservation) {
  const auto sets = inventory.cpusets(reservation);
  return {sets.begin(), sets.end()};
}

TEST(CoreInventory, TakesCoresOfOthersLastAndPinsNobodyThere) {
  Others others{{"0", "2"}};
  CoreInventory inventory(four_shared_cores(), others.exclusion());
  {
    const auto first = inventory.reserve(2, 0);
    ASSERT_TRUE(first);
    EXPECT_EQ(cpusets(inventory, *first), (std::multiset<std::string>{"1", "3"}));
    const auto second = inventory.reserve(2, 0);
    ASSERT_TRUE(second);
    EXPECT_EQ(cpusets(inventory, *second), (std::multiset<std::string>{"0-3", "0-3"}));
    EXPECT_FALSE(inventory.reserve(1, 0));
    EXPECT_EQ(others.ours, (std::set<std::string>{"1", "3"}));
  }
  EXPECT_TRUE(others.ours.empty());
  others.theirs.clear();
  const auto all = inventory.reserve(4, 0);
  ASSERT_TRUE(all);
  EXPECT_EQ(cpusets(inventory, *all), (std::multiset<std::string>{"0", "1", "2", "3"}));
}

}  // namespace
}  // namespace sublet::manager
