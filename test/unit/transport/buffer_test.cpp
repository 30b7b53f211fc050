#include <sublet/buffer.hpp>
#include <transport/arena.hpp>

#include <gtest/gtest.h>

#include <limits>
#include <numeric>

namespace sublet {
namespace {

std::shared_ptr<transport::Arena> make_arena() {
  auto arena = transport::Arena::create(2u << 20);
  EXPECT_TRUE(arena);
  return *arena;
}

TEST(Buffer, LiesInTheArenaAndGivesItsPlaceBack) {
  const auto arena = make_arena();
  {
    Buffer<double> numbers(arena, 1000);
    EXPECT_EQ(numbers.size(), 1000u);
    EXPECT_EQ(numbers.size_bytes(), 8000u);
    EXPECT_TRUE(arena->contains(numbers.data(), numbers.size_bytes()));
    std::iota(numbers.begin(), numbers.end(), 1.0);
    EXPECT_EQ(numbers[999], 1000.0);
    EXPECT_EQ(numbers.span().back(), 1000.0);
    EXPECT_GT(arena->bytes_in_use(), 0u);
  }
  EXPECT_EQ(arena->bytes_in_use(), 0u);
}

TEST(Buffer, KeepsItsArenaAlive) {
  auto arena = make_arena();
  const std::weak_ptr<transport::Arena> watch = arena;
  {
    Buffer<int> numbers(arena, 10);
    arena.reset();
    EXPECT_FALSE(watch.expired());
    numbers[9] = 5;
    EXPECT_EQ(numbers[9], 5);
  }
  EXPECT_TRUE(watch.expired());
}

TEST(Buffer, MovesWithoutMovingItsContent) {
  const auto arena = make_arena();
  Buffer<int> from(arena, 10);
  from[3] = 42;
  const int* place = from.data();
  Buffer<int> to(std::move(from));
  EXPECT_EQ(to.data(), place);
  EXPECT_EQ(from.data(), nullptr);  // NOLINT(bugprone-use-after-move): that is the promise
  EXPECT_EQ(from.size(), 0u);
  Buffer<int> other(arena, 1000);
  other = std::move(to);
  EXPECT_EQ(other.data(), place);
  EXPECT_EQ(other[3], 42);
  EXPECT_LT(arena->bytes_in_use(), 1000u) << "what it held before was not given back";
}

TEST(Buffer, IsEmptyByDefault) {
  const Buffer<int> none;
  EXPECT_EQ(none.size(), 0u);
  EXPECT_EQ(none.begin(), none.end());
}

TEST(Buffer, ThrowsWhenTheArenaHasNoRoom) {
  const auto arena = make_arena();
  EXPECT_THROW(Buffer<char>(arena, arena->size() + 1), std::bad_alloc);
  EXPECT_EQ(arena->bytes_in_use(), 0u);
}

TEST(Buffer, ThrowsWhenItsSizeOverflows) {
  const auto arena = make_arena();
  // Times eight this is 8 bytes.
  constexpr std::size_t kCount = std::numeric_limits<std::size_t>::max() / sizeof(double) + 2;
  EXPECT_THROW(Buffer<double>(arena, kCount), std::bad_alloc);
}

}  // namespace
}  // namespace sublet
