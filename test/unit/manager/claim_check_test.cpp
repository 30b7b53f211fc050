// What an executor manager believes of a client that presents a grant.

#include <executor_manager/claim_check.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

constexpr Time kNow{1'800'000'000'000ms};

GrantTerms some_terms() {
  GrantTerms terms;
  terms.key = {LeaseId{17}, 3, NodeNumber{}};
  terms.workers = 4;
  terms.cores_per_worker = 2;
  terms.memory_bytes = 1u << 30;
  terms.arena_bytes = 1u << 20;
  terms.token.fill(7);
  terms.expires = kNow + 1h;
  terms.owner_uid = 1000;
  terms.slurm_job = 5;
  return terms;
}

class ClaimCheck : public testing::Test {
 protected:
  [[nodiscard]] wire::SealedGrant sealed(const wire::SigningKey& by) const {
    return seal(some_terms(), {node_.public_key(), holder_.public_key()}, kNow, by);
  }

  /// Empty: it is good.
  [[nodiscard]] std::string refusal(const wire::SealedGrant& grant, const Issuer& issuer, Time now,
                                    const wire::SigningKey& holder,
                                    const wire::ChannelBinding& binding) const {
    const auto proof = wire::prove_holder(grant, kBinding, holder);
    const auto checked = check_claim({grant, proof, binding, {}}, node_.public_key(), issuer, now);
    if (checked) return {};
    EXPECT_EQ(checked.error().kind(), ErrorKind::kDenied);
    return checked.error().what();
  }
  [[nodiscard]] std::string refusal_at(Time now, milliseconds ahead = 0ms) const {
    return refusal(sealed(manager_), {manager_.public_key(), ahead, 30s}, now, holder_, kBinding);
  }

  static constexpr wire::ChannelBinding kBinding{1, 2, 3};
  wire::SigningKey manager_ = wire::SigningKey::make();
  wire::SigningKey node_ = wire::SigningKey::make();
  wire::SigningKey holder_ = wire::SigningKey::make();
  Issuer issuer_{manager_.public_key(), 0ms, 30s};
};

TEST_F(ClaimCheck, BelievesTheHolderOfAGrantForThisNode) {
  EXPECT_EQ(refusal(sealed(manager_), issuer_, kNow, holder_, kBinding), "");
}

TEST_F(ClaimCheck, RefusesAnotherAudienceHolderSignerOrConnection) {
  const auto expect = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  const auto other = wire::SigningKey::make();
  expect(refusal(seal(some_terms(), {other.public_key(), holder_.public_key()}, kNow, manager_),
                 issuer_, kNow, holder_, kBinding),
         "for another executor manager, or for the one that ran here before");
  expect(refusal(sealed(other), issuer_, kNow, holder_, kBinding), "not signed by who grants");
  expect(refusal(sealed(manager_), Issuer{}, kNow, holder_, kBinding), "not signed by who grants");
  expect(refusal(sealed(manager_), issuer_, kNow, other, kBinding), "holder of another key");
  expect(refusal(sealed(manager_), issuer_, kNow, holder_, wire::ChannelBinding{}),
         "holder of another key");
}

TEST_F(ClaimCheck, GoesByTheIssuersClockWithinTheTolerance) {
  EXPECT_EQ(refusal_at(kNow + 1h), "");
  EXPECT_EQ(refusal_at(kNow + 1h + 30s), "");
  EXPECT_NE(refusal_at(kNow + 1h + 31s).find("expired 31000 ms ago"), std::string::npos);
  EXPECT_NE(refusal_at(kNow - 31s).find("issued 31000 ms from now"), std::string::npos);
  // This node's clock is ahead of the issuer's by so much, as measured.
  EXPECT_EQ(refusal_at(kNow + 2h, 2h), "");
  EXPECT_NE(refusal_at(kNow + 3h + 31s, 2h).find("expired 31000 ms ago"), std::string::npos);
}

TEST_F(ClaimCheck, ComparesEachFieldWithWhatTheNodeWasTold) {
  const auto claims = wire::read_claims(sealed(manager_)).value_or_throw();
  EXPECT_TRUE(are_of(claims, some_terms()));
  const std::function<void(GrantTerms&)> changes[] = {
      [](GrantTerms& terms) { terms.key.lease = LeaseId{18}; },
      [](GrantTerms& terms) { terms.key.part = 4; },
      [](GrantTerms& terms) { terms.workers = 5; },
      [](GrantTerms& terms) { terms.cores_per_worker = 1; },
      [](GrantTerms& terms) { terms.memory_bytes += 1; },
      [](GrantTerms& terms) { terms.arena_bytes += 1; },
      [](GrantTerms& terms) { terms.owner_uid = 0; },
      [](GrantTerms& terms) { terms.slurm_job = 6; },
      [](GrantTerms& terms) { terms.token[15] ^= 1; },
  };
  int number = 0;
  for (const auto& change : changes) {
    GrantTerms other = some_terms();
    change(other);
    EXPECT_FALSE(are_of(claims, other)) << "change " << number;
    ++number;
  }
}

TEST_F(ClaimCheck, SaysNothingOfTheToken) {
  const auto grant = sealed(manager_);
  const auto token = some_terms().token;
  const auto bytes = std::as_bytes(std::span(token));
  EXPECT_EQ(std::search(grant.begin(), grant.end(), bytes.begin(), bytes.begin() + 4), grant.end());
  auto other = token;
  other[0] ^= 1;
  EXPECT_NE(nonce_of(other), nonce_of(token));
}

TEST_F(ClaimCheck, ComparesUsersThatWereProvedInTheSameWay) {
  GrantTerms terms = some_terms();
  const auto caller = [](std::uint32_t uid, Proof proof) {
    Caller made;
    made.uid = uid;
    made.proof = proof;
    return made;
  };
  const Caller owner = caller(1000, Proof::kMunge);
  const Caller another = caller(1001, Proof::kPeerCredentials);
  const Caller with_key = caller(1001, Proof::kKey);
  EXPECT_TRUE(check_owner(owner, terms));
  EXPECT_FALSE(check_owner(another, terms));
  EXPECT_TRUE(check_owner(with_key, terms));
  EXPECT_TRUE(check_owner(Caller{}, terms));
  terms.owner_by_key = true;
  EXPECT_TRUE(check_owner(another, terms));
  EXPECT_FALSE(check_owner(with_key, terms));
  terms.owner_uid = kUnknownUid;
  EXPECT_TRUE(check_owner(with_key, terms));
}

}  // namespace
}  // namespace sublet::manager
