#include <transport/arena.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <memory_resource>
#include <random>
#include <vector>

namespace sublet::transport {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

std::shared_ptr<Arena> make(std::size_t size = 2 * kMiB) {
  return Arena::create(size).value_or_throw();
}

std::uintptr_t address(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

TEST(Arena, HasAtLeastTheSizeAskedFor) {
  for (const std::size_t size : {std::size_t{1}, 2 * kMiB, 2 * kMiB + 1, 64 * kMiB}) {
    const auto arena = make(size);
    EXPECT_GE(arena->size(), size);
    EXPECT_LT(arena->size(), size + 2 * kMiB);
    EXPECT_EQ(arena->largest_free(), arena->size());
    EXPECT_EQ(arena->bytes_in_use(), 0u);
  }
}

TEST(Arena, RefusesNothingAndMoreThanThereIs) {
  for (const std::size_t size :
       {std::size_t{0}, (std::size_t{1} << 46) + 1, std::numeric_limits<std::size_t>::max()}) {
    const auto arena = Arena::create(size);
    ASSERT_FALSE(arena);
    EXPECT_EQ(arena.error().kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(arena.error().what()).find(std::to_string(size)), std::string::npos);
  }
}

TEST(Arena, KnowsWhatLiesInIt) {
  const auto arena = make();
  const std::byte* start = arena->data();
  const std::size_t size = arena->size();
  EXPECT_TRUE(arena->contains(start, size));
  EXPECT_TRUE(arena->contains(start + size - 1, 1));
  EXPECT_TRUE(arena->contains(start + size, 0));
  EXPECT_FALSE(arena->contains(start, size + 1));
  EXPECT_FALSE(arena->contains(start + size - 1, 2));
  EXPECT_FALSE(arena->contains(start - 1, 1));
  EXPECT_FALSE(arena->contains(start + 8, std::numeric_limits<std::size_t>::max()));
  EXPECT_FALSE(arena->contains(nullptr, 1));
}

TEST(Arena, AlignsToMoreThanAPageToo) {
  const auto arena = make(16 * kMiB);
  std::vector<std::pair<void*, std::size_t>> blocks;
  for (std::size_t alignment = 1; alignment <= 4 * kMiB; alignment *= 2) {
    void* block = arena->allocate(1, alignment);
    EXPECT_EQ(address(block) % alignment, 0u) << alignment;
    EXPECT_EQ(address(block) % Arena::kGranule, 0u);
    blocks.emplace_back(block, alignment);
  }
  for (const auto& [block, alignment] : blocks) arena->deallocate(block, 1, alignment);
  EXPECT_EQ(arena->largest_free(), arena->size());
}

TEST(Arena, GivesEmptyBlocksAPlaceOfTheirOwn) {
  const auto arena = make();
  void* a = arena->allocate(0);
  void* b = arena->allocate(0);
  EXPECT_NE(a, b);
  arena->deallocate(a, 0);
  arena->deallocate(b, 0);
  EXPECT_EQ(arena->bytes_in_use(), 0u);
}

TEST(Arena, ThrowsWhenItIsExhaustedAndServesAgainAfterwards) {
  const auto arena = make();
  EXPECT_THROW((void)arena->allocate(arena->size() + 1), std::bad_alloc);
  EXPECT_THROW((void)arena->allocate(std::numeric_limits<std::size_t>::max()), std::bad_alloc);
  volatile std::size_t alignment = std::size_t{1} << 46;  // clang knows a constant to be too much
  EXPECT_THROW((void)arena->allocate(1, alignment), std::bad_alloc);
  std::vector<void*> blocks;
  try {
    for (;;) blocks.push_back(arena->allocate(64 << 10));
  } catch (const std::bad_alloc&) {
  }
  EXPECT_EQ(blocks.size(), arena->size() / (64 << 10));
  EXPECT_EQ(arena->largest_free(), 0u);
  arena->deallocate(blocks.back(), 64 << 10);
  EXPECT_EQ(arena->allocate(64 << 10), blocks.back());
  for (void* block : blocks) arena->deallocate(block, 64 << 10);
  EXPECT_EQ(arena->largest_free(), arena->size());
}

TEST(Arena, JoinsFreedNeighboursInWhateverOrderTheyCome) {
  const auto arena = make();
  std::vector<int> order{0, 1, 2, 3};
  do {
    std::array<void*, 4> blocks{};
    for (void*& block : blocks) block = arena->allocate(arena->size() / 4);
    for (const int i : order) {
      arena->deallocate(blocks[static_cast<std::size_t>(i)], arena->size() / 4);
    }
    ASSERT_EQ(arena->largest_free(), arena->size());
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(Arena, AgreesWithAModelUnderRandomUse) {
  const auto arena = make();
  struct Block {
    std::size_t bytes;
    std::size_t alignment;
    unsigned char mark;
  };
  std::map<std::byte*, Block> blocks;
  std::mt19937_64 random(7);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int step = 0; step < 20'000; ++step) {
    if (blocks.empty() || below(100) < 55) {
      const std::size_t bytes = below(8) == 0 ? below(200'000) : below(2'000);
      const std::size_t alignment = std::size_t{1} << below(14);
      std::byte* block = nullptr;
      try {
        block = static_cast<std::byte*>(arena->allocate(bytes, alignment));
      } catch (const std::bad_alloc&) {
        ASSERT_LT(arena->largest_free(), bytes + alignment + Arena::kGranule)
            << "refused although there was room";
        continue;
      }
      ASSERT_EQ(address(block) % alignment, 0u);
      ASSERT_TRUE(arena->contains(block, bytes));
      const auto next = blocks.lower_bound(block);
      if (next != blocks.end()) {
        ASSERT_LE(block + std::max<std::size_t>(bytes, 1), next->first);
      }
      if (next != blocks.begin()) {
        const auto& [previous, kept] = *std::prev(next);
        ASSERT_LE(previous + std::max<std::size_t>(kept.bytes, 1), block);
      }
      const auto mark = static_cast<unsigned char>(random());
      std::memset(block, mark, bytes);
      blocks.emplace(block, Block{bytes, alignment, mark});
    } else {
      auto victim = blocks.begin();
      std::advance(victim, static_cast<std::ptrdiff_t>(below(blocks.size())));
      const auto& [block, kept] = *victim;
      ASSERT_TRUE(std::all_of(block, block + kept.bytes, [mark = kept.mark](std::byte b) {
        return b == std::byte{mark};
      })) << "somebody else wrote to a block in use";
      arena->deallocate(block, kept.bytes, kept.alignment);
      blocks.erase(victim);
    }
    std::size_t in_use = 0;
    for (const auto& [block, kept] : blocks) {
      in_use += (std::max<std::size_t>(kept.bytes, 1) + Arena::kGranule - 1) / Arena::kGranule *
                Arena::kGranule;
    }
    ASSERT_EQ(arena->bytes_in_use(), in_use);
  }
  for (const auto& [block, kept] : blocks) arena->deallocate(block, kept.bytes, kept.alignment);
  EXPECT_EQ(arena->largest_free(), arena->size());
}

TEST(Arena, ServesContainers) {
  const auto arena = make();
  {
    std::pmr::vector<double> numbers(arena.get());
    for (int i = 0; i < 10'000; ++i) numbers.push_back(i);
    EXPECT_TRUE(arena->contains(numbers.data(), numbers.size() * sizeof(double)));
    EXPECT_EQ(numbers[9'999], 9'999.0);
  }
  EXPECT_EQ(arena->bytes_in_use(), 0u);
  EXPECT_TRUE(arena->is_equal(*arena));
  EXPECT_FALSE(arena->is_equal(*make()));
}

TEST(Arena, MayBeLargerThanTheMachinesMemory) {
  const auto arena = make(std::size_t{1} << 37);
  auto* last = static_cast<std::byte*>(arena->allocate(arena->size()));
  last[arena->size() - 1] = std::byte{1};
  EXPECT_EQ(arena->largest_free(), 0u);
  arena->deallocate(last, arena->size());
}

}  // namespace
}  // namespace sublet::transport
