#include <transport/shm/shm_first_look.hpp>

#include <gtest/gtest.h>

#include <random>

namespace sublet::transport::shm {
namespace {

/// Lets `look` meet something that is there after `gaps` gaps, give or take, each later look coming
/// some gaps after the one before.
void meet(FirstLook& look, std::uint32_t gaps) {
  constexpr std::uint32_t kGapsOfALook = 5;
  std::uint32_t looks = 0;
  for (std::uint32_t at = look.gaps(); at < gaps; at += kGapsOfALook) ++looks;
  look.found(looks);
}

TEST(FirstLook, ComesWhenWhatItWaitsForUsesToBeThere) {
  std::mt19937 random(5);
  for (const std::uint32_t gaps : {0u, 3u, 20u, 40u, 8u}) {
    FirstLook look;
    for (int i = 0; i < 2000; ++i) meet(look, gaps + random() % 2);
    EXPECT_GE(look.gaps() + 1, gaps);
    EXPECT_LE(look.gaps(), gaps + 2);
  }
}

TEST(FirstLook, FollowsAChange) {
  FirstLook look;
  for (int i = 0; i < 2000; ++i) meet(look, 30);
  for (int i = 0; i < 2000; ++i) meet(look, 5);
  EXPECT_LE(look.gaps(), 6u);
}

TEST(FirstLook, IsNotMovedByWhatTakesMuchLonger) {
  FirstLook look;
  for (int i = 0; i < 2000; ++i) meet(look, 10);
  const std::uint32_t before = look.gaps();
  for (int i = 0; i < 2000; ++i) look.found(1000);
  EXPECT_EQ(look.gaps(), before);
}

TEST(FirstLook, HasAnEnd) {
  FirstLook look;
  for (int i = 0; i < 100'000; ++i) look.found(1);
  EXPECT_LE(look.gaps(), 64u);
}

}  // namespace
}  // namespace sublet::transport::shm
