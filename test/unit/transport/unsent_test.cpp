#include <transport/common/unsent.hpp>

#include <gtest/gtest.h>

#include <limits>

namespace sublet::transport {
namespace {

TEST(Unsent, KeepsRequestsInTheirOrderAlsoWhereNumbersWrap) {
  constexpr std::uint32_t kSlots = 4;
  Unsent unsent(kSlots);
  std::uint32_t next = std::numeric_limits<std::uint32_t>::max() - 5;
  for (int round = 0; round < 5; ++round) {
    EXPECT_TRUE(unsent.empty());
    const std::uint32_t first = next;
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      Request request;
      request.in_size = next;
      unsent.push(next++, request);
    }
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      ASSERT_FALSE(unsent.empty());
      EXPECT_EQ(unsent.sequence(), first + i);
      EXPECT_EQ(unsent.request().in_size, first + i);
      unsent.pop();
    }
  }
}

}  // namespace
}  // namespace sublet::transport
