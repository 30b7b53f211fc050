// Grants that prove themselves: what they say, and that nothing else is taken for them.

#include "support/temp_directory.hpp"
#include <wire/signed_grant.hpp>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace sublet::wire {
namespace {

using namespace std::chrono_literals;

GrantClaims some_claims() {
  GrantClaims claims;
  claims.lease = 0x0102030405060708;
  claims.part = 0x11121314;
  claims.uid = 1000;
  claims.slurm_job = 4711;
  claims.workers = 8;
  claims.cores_per_worker = 2;
  claims.gpus_per_worker = 3;
  claims.memory_bytes = std::uint64_t{1} << 40;
  claims.arena_bytes = std::uint64_t{1} << 30;
  claims.issued_unix_ms = 1'800'000'000'000;
  claims.lasts = 1h;
  claims.nonce.fill(0xA1);
  claims.audience.fill(0xB2);
  claims.holder.fill(0xC3);
  return claims;
}

class SignedGrant : public testing::Test {
 protected:
  SigningKey issuer_ = SigningKey::make();
  SigningKey holder_ = SigningKey::make();
  ChannelBinding binding_{1, 2, 3};
};

TEST_F(SignedGrant, SaysWhatWasSealed) {
  const GrantClaims claims = some_claims();
  const auto opened = open_sealed(seal(claims, issuer_), issuer_.public_key());
  ASSERT_TRUE(opened) << opened.error().what();
  EXPECT_EQ(*opened, claims);
}

/// The layout is a protocol: another version of this program reads it.
TEST_F(SignedGrant, HasItsFieldsWhereTheLayoutSays) {
  const SealedGrant sealed = seal(some_claims(), issuer_);
  const auto text = [&](std::size_t at, std::size_t size) {
    return std::string(reinterpret_cast<const char*>(sealed.data()) + at, size);
  };
  const auto number = [&](std::size_t at, std::size_t size) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      value |= std::to_integer<std::uint64_t>(sealed[at + i]) << (8 * i);
    }
    return value;
  };
  EXPECT_EQ(text(0, 16), std::string("sublet grant 1\0\0", 16));
  EXPECT_EQ(number(16, 8), 0x0102030405060708u);
  EXPECT_EQ(number(24, 4), 0x11121314u);
  EXPECT_EQ(number(28, 4), 1000u);
  EXPECT_EQ(number(32, 4), 4711u);
  EXPECT_EQ(number(36, 4), 8u);
  EXPECT_EQ(number(40, 4), 2u);
  EXPECT_EQ(number(44, 4), 3u);
  EXPECT_EQ(number(48, 8), std::uint64_t{1} << 40);
  EXPECT_EQ(number(56, 8), std::uint64_t{1} << 30);
  EXPECT_EQ(number(64, 8), 1'800'000'000'000u);
  EXPECT_EQ(number(72, 8), 3'600'000u);
  EXPECT_EQ(text(80, 16), std::string(16, '\xA1'));
  EXPECT_EQ(text(96, 32), std::string(32, '\xB2'));
  EXPECT_EQ(text(128, 32), std::string(32, '\xC3'));
}

TEST_F(SignedGrant, IsNoneWithAnyBitFlipped) {
  const SealedGrant sealed = seal(some_claims(), issuer_);
  for (std::size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
    SealedGrant flipped = sealed;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(open_sealed(flipped, issuer_.public_key())) << "bit " << bit;
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{160}, kSealedGrantBytes - 1}) {
    EXPECT_FALSE(open_sealed(std::span(sealed).first(size), issuer_.public_key()));
  }
  EXPECT_FALSE(open_sealed(sealed, holder_.public_key()));
  EXPECT_FALSE(open_sealed(sealed, PublicKey{})) << "a key for which anything would be signed";
}

TEST_F(SignedGrant, IsPresentedByItsHolderOverOneConnection) {
  const SealedGrant sealed = seal(some_claims(), issuer_);
  const Signature proof = prove_holder(sealed, binding_, holder_);
  EXPECT_TRUE(is_proved(proof, sealed, binding_, holder_.public_key()));
  EXPECT_FALSE(is_proved(proof, sealed, binding_, issuer_.public_key()));
  EXPECT_FALSE(is_proved(proof, sealed, ChannelBinding{}, holder_.public_key()));
  EXPECT_FALSE(is_proved(proof, seal(some_claims(), holder_), binding_, holder_.public_key()));
  EXPECT_FALSE(is_proved(std::span(proof).first(63), sealed, binding_, holder_.public_key()));
  EXPECT_FALSE(is_proved({}, sealed, binding_, holder_.public_key()));
  // What is signed for one thing is no signature of another.
  EXPECT_FALSE(is_proved(holder_.sign(sealed), sealed, binding_, holder_.public_key()));
  for (std::size_t bit = 0; bit < 8 * proof.size(); ++bit) {
    Signature flipped = proof;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(is_proved(flipped, sealed, binding_, holder_.public_key())) << "bit " << bit;
  }
}

TEST_F(SignedGrant, IsGoodWithinItsTimeGiveOrTakeTheTolerance) {
  const GrantClaims claims = some_claims();
  const std::int64_t issued = claims.issued_unix_ms;
  const std::int64_t end = issued + 3'600'000;
  EXPECT_TRUE(check_time(claims, issued, 0ms));
  EXPECT_TRUE(check_time(claims, end, 0ms));
  EXPECT_FALSE(check_time(claims, issued - 1, 0ms));
  EXPECT_FALSE(check_time(claims, end + 1, 0ms));
  EXPECT_TRUE(check_time(claims, issued - 30'000, 30s));
  EXPECT_TRUE(check_time(claims, end + 30'000, 30s));
  EXPECT_FALSE(check_time(claims, issued - 30'001, 30s));
  const auto late = check_time(claims, end + 7'200'000, 30s);
  ASSERT_FALSE(late);
  EXPECT_EQ(std::string(late.error().what()),
            "the grant expired 7200000 ms ago; tolerated are 30000 ms between clocks");
}

TEST_F(SignedGrant, OverflowsNowhere) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
  for (const std::int64_t issued : {kLeast, std::int64_t{0}, kMost}) {
    for (const std::int64_t lasts : {kLeast, std::int64_t{0}, kMost}) {
      GrantClaims claims = some_claims();
      claims.issued_unix_ms = issued;
      claims.lasts = std::chrono::milliseconds(lasts);
      (void)check_time(claims, 1'800'000'000'000, 30s);
      EXPECT_EQ(*open_sealed(seal(claims, issuer_), issuer_.public_key()), claims);
    }
  }
}

/// So many grants and so many proofs; SUBLET_MUTATIONS says otherwise.
std::uint64_t mutations() {
  const char* const text = std::getenv("SUBLET_MUTATIONS");
  return text == nullptr ? 10'000 : std::strtoull(text, nullptr, 10);
}

/// Changes some bytes: flips, fills, copies of one place to another, other lengths.
template <class Random>
void mutate(std::vector<std::byte>& bytes, Random& random) {
  const auto pick = [&](std::size_t below) {
    return std::uniform_int_distribution<std::size_t>(0, below - 1)(random);
  };
  const std::size_t changes = 1 + pick(4);
  for (std::size_t i = 0; i < changes && !bytes.empty(); ++i) {
    switch (pick(5)) {
      case 0:
        bytes[pick(bytes.size())] ^= std::byte{1} << pick(8);
        break;
      case 1:
        bytes[pick(bytes.size())] = static_cast<std::byte>(pick(256));
        break;
      case 2:
        bytes[pick(bytes.size())] = bytes[pick(bytes.size())];
        break;
      case 3:
        bytes.resize(pick(bytes.size() + 8));
        break;
      default:
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(pick(bytes.size())), 1,
                    pick(2) == 0 ? std::byte{0} : std::byte{0xFF});
        break;
    }
  }
}

TEST_F(SignedGrant, IsNeverMadeByChange) {
  std::mt19937_64 random(20261201);
  const SealedGrant sealed = seal(some_claims(), issuer_);
  const Signature proof = prove_holder(sealed, binding_, holder_);
  std::uint64_t accepted = 0;
  std::uint64_t tried = 0;
  for (std::uint64_t i = 0; i < mutations(); ++i) {
    std::vector<std::byte> grant(sealed.begin(), sealed.end());
    mutate(grant, random);
    if (!std::equal(grant.begin(), grant.end(), sealed.begin(), sealed.end())) {
      ++tried;
      accepted += open_sealed(grant, issuer_.public_key()) ? 1 : 0;
    }
    std::vector<std::byte> credential(proof.begin(), proof.end());
    mutate(credential, random);
    if (!std::equal(credential.begin(), credential.end(), proof.begin(), proof.end())) {
      ++tried;
      accepted += is_proved(credential, sealed, binding_, holder_.public_key()) ? 1 : 0;
    }
  }
  EXPECT_EQ(accepted, 0u) << "of " << tried;
  RecordProperty("mutations", std::to_string(tried));
}

class GrantKeyFile : public testing::Test {
 protected:
  const test::TempDirectory directory_;
  const std::string path_ = directory_.path() + "/grant.key";
};

TEST_F(GrantKeyFile, IsMadeOnceAndKept) {
  const auto first = SigningKey::keep(path_);
  ASSERT_TRUE(first) << first.error().what();
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto again = SigningKey::keep(path_);
  ASSERT_TRUE(again) << again.error().what();
  EXPECT_EQ(again->public_key(), first->public_key());
  const auto message = std::as_bytes(std::span("of before", 9));
  EXPECT_TRUE(is_signed(message, first->sign(message), again->public_key()));
  EXPECT_NE(SigningKey::make().public_key(), first->public_key());
}

TEST_F(GrantKeyFile, IsRefusedWhenOthersMayReadIt) {
  ASSERT_TRUE(SigningKey::keep(path_));
  ASSERT_EQ(::chmod(path_.c_str(), 0640), 0);
  const auto refused = SigningKey::keep(path_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kDenied);
  EXPECT_NE(std::string(refused.error().what()).find("may be read or written by others"),
            std::string::npos);
}

TEST_F(GrantKeyFile, IsRefusedWhenItHoldsNone) {
  std::ofstream(path_) << "sublet-key-1 AAAA\n";
  ASSERT_EQ(::chmod(path_.c_str(), 0600), 0);
  const auto refused = SigningKey::keep(path_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(refused.error().what()).find("remove it, and the resource manager makes"),
            std::string::npos);
}

}  // namespace
}  // namespace sublet::wire
