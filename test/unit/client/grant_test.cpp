#include <sublet/lease.hpp>

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace sublet {
namespace {

Grant example() {
  Grant grant;
  grant.lease_id = 0x0123456789abcdef;
  grant.part = 3;
  grant.cores = 2;
  grant.slots = 64;
  grant.arena_bytes = std::uint64_t{5} << 40;
  grant.node_name = "c1";
  grant.node_id = "boot/c1";
  grant.addresses = {"unix:/run/em.sock", "tcp:c1:4000"};
  grant.sealed.assign(224, std::byte{9});
  grant.expires_unix_ms = 1'700'000'000'000;
  return grant;
}

TEST(Grant, SurvivesTheWayToAnotherRank) {
  const Grant grant = example();
  auto read = Grant::from_bytes(grant.to_bytes());
  ASSERT_TRUE(read) << read.error().what();
  EXPECT_EQ(read->lease_id, grant.lease_id);
  EXPECT_EQ(read->part, grant.part);
  EXPECT_EQ(read->cores, grant.cores);
  EXPECT_EQ(read->slots, grant.slots);
  EXPECT_EQ(read->arena_bytes, grant.arena_bytes);
  EXPECT_EQ(read->node_name, grant.node_name);
  EXPECT_EQ(read->node_id, grant.node_id);
  EXPECT_EQ(read->addresses, grant.addresses);
  EXPECT_EQ(read->sealed, grant.sealed);
  EXPECT_TRUE(read->token.empty());
  EXPECT_EQ(read->expires_unix_ms, grant.expires_unix_ms);
}

TEST(Grant, RefusesBytesThatAreNone) {
  EXPECT_FALSE(Grant::from_bytes({}));
  EXPECT_FALSE(Grant::from_bytes(std::vector<std::byte>(7)));
  EXPECT_FALSE(Grant::from_bytes(std::vector<std::byte>(64)));
}

TEST(Grant, RefusesASealOrATokenOfTheWrongLength) {
  Grant grant = example();
  grant.sealed.pop_back();
  EXPECT_EQ(Grant::from_bytes(grant.to_bytes()).error().kind(), ErrorKind::kInvalid);
  grant = example();
  grant.token.assign(15, std::byte{7});
  EXPECT_EQ(Grant::from_bytes(grant.to_bytes()).error().kind(), ErrorKind::kInvalid);
  grant.token.push_back(std::byte{7});
  EXPECT_EQ(Grant::from_bytes(grant.to_bytes()).value_or_throw().token, grant.token);
}

TEST(Grant, NeverCrashesOnAlteredBytes) {
  const std::vector<std::byte> good = example().to_bytes();
  std::mt19937 random(20261124);
  for (int i = 0; i < 20000; ++i) {
    std::vector<std::byte> bytes = good;
    if (i % 3 == 0) bytes.resize(random() % (good.size() + 1));
    for (unsigned flips = random() % 8; flips > 0 && !bytes.empty(); --flips) {
      bytes[random() % bytes.size()] ^= static_cast<std::byte>(1U << (random() % 8));
    }
    auto read = Grant::from_bytes(bytes);
    if (read) {
      EXPECT_LE(read->cores, 1024U);
      EXPECT_TRUE(read->sealed.empty() || read->sealed.size() == 224U);
    } else {
      EXPECT_EQ(read.error().kind(), ErrorKind::kInvalid);
    }
  }
}

}  // namespace
}  // namespace sublet
