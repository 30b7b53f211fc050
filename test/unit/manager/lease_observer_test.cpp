// What an observer of the lease book is told: each grant's life, in order, and nothing twice.

#include <resource_manager/lease_book.hpp>

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;
using Lines = std::vector<std::string>;

/// Writes events down as "claimed 1000/0 on c1".
class Scribe final : public LeaseObserver {
 public:
  void granted(const GrantOnNode& grant) override {
    write("granted", grant, " to uid " + std::to_string(grant.terms.owner_uid));
  }
  void claimed(const GrantOnNode& grant) override { write("claimed", grant, ""); }
  void used(const GrantOnNode& grant, const Usage& so_far) override {
    write("used", grant, ": " + std::to_string(so_far.invocations));
  }
  void extended(const GrantOnNode& grant) override { write("extended", grant, ""); }
  void ended(const GrantOnNode& grant, const Usage& in_all, const GrantEnding& ending) override {
    write("ended", grant,
          ": " + std::to_string(in_all.invocations) + ", " + to_string(ending.how) + ", " +
              ending.reason);
  }

  Lines take() { return std::exchange(lines_, {}); }

 private:
  void write(const std::string& what, const GrantOnNode& grant, const std::string& more) {
    const GrantKey& key = grant.terms.key;
    lines_.push_back(what + " " + std::to_string(number(key.lease)) + "/" +
                     std::to_string(key.part) + " on " + grant.node.name + more);
  }
  Lines lines_;
};

class LeaseObserverTest : public testing::Test {
 protected:
  LeaseObserverTest() : book_(make_book(LeaseId{1000})) { book_.set_observer(&scribe_); }

  static LeaseBook make_book(LeaseId first) {
    return LeaseBook({}, first, [engine = std::mt19937_64(7)](std::span<std::byte> bytes) mutable {
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(engine());
    });
  }
  static NodeOffer offer(const std::string& name) {
    return {name, "boot/" + name, 4, std::uint64_t{1} << 30, "0", {"unix:@" + name}};
  }
  NodeNumber join(const std::string& name, std::vector<GrantTerms> held = {}) {
    return book_.register_node(offer(name), std::move(held), now_)->node;
  }
  std::vector<GrantTerms> reserve(std::uint32_t parts) {
    LeaseRequest request;
    request.parts = parts;
    request.memory_bytes = 0;
    request.duration = 60s;
    return *book_.reserve(request, {{500, 500, 0, "", Proof::kPeerCredentials}, "", "me@here"},
                          now_);
  }
  static Usage calls(std::uint64_t count) {
    Usage usage;
    usage.invocations = count;
    return usage;
  }

  Time now_{1'700'000'000'000ms};
  Scribe scribe_;
  LeaseBook book_;
};

TEST_F(LeaseObserverTest, HearsOfAGrantsWholeLife) {
  join("c1");
  const auto grants = reserve(2);
  EXPECT_EQ(scribe_.take(), Lines{}) << "no node holds them yet";
  for (const GrantTerms& terms : grants) book_.confirmed(terms.key, now_);
  EXPECT_EQ(scribe_.take(),
            (Lines{"granted 1000/0 on c1 to uid 500", "granted 1000/1 on c1 to uid 500"}));
  book_.claimed(grants[0].key);
  book_.claimed(grants[0].key);
  EXPECT_EQ(scribe_.take(), Lines{"claimed 1000/0 on c1"});
  book_.usage(grants[0].key, calls(3));
  book_.usage(grants[0].key, calls(5));
  EXPECT_EQ(scribe_.take(), (Lines{"used 1000/0 on c1: 3", "used 1000/0 on c1: 5"}));
  book_.ended(grants[0].key, calls(7), "its client released it");
  book_.ended(grants[0].key, calls(9), "said twice");
  book_.usage(grants[0].key, calls(9));
  EXPECT_EQ(scribe_.take(), Lines{"ended 1000/0 on c1: 7, reported, its client released it"});
  book_.ended(grants[1].key, {}, "nobody claimed it");
  EXPECT_EQ(scribe_.take(), Lines{"ended 1000/1 on c1: 0, reported, nobody claimed it"});
}

TEST_F(LeaseObserverTest, HearsNothingOfAGrantThatItsNodeRefused) {
  join("c1");
  const auto grants = reserve(1);
  book_.refused(grants[0].key);
  EXPECT_EQ(scribe_.take(), Lines{});
}

TEST_F(LeaseObserverTest, HearsOfAWithdrawnLeaseWhatItsNodesHeld) {
  join("c1");
  const auto grants = reserve(2);
  book_.confirmed(grants[0].key, now_);
  book_.refused(grants[1].key);
  book_.withdraw(grants[0].key.lease, now_);
  book_.refused(grants[0].key);
  EXPECT_EQ(scribe_.take(), (Lines{"granted 1000/0 on c1 to uid 500",
                                   "ended 1000/0 on c1: 0, not held, the lease was not granted"}));
}

TEST_F(LeaseObserverTest, HearsOfAConfirmationThatComesAfterTheHandleWasDropped) {
  join("c1");
  const auto grants = reserve(1);
  book_.handle_dropped(grants[0].key.lease, now_);
  book_.confirmed(grants[0].key, now_);
  book_.ended(grants[0].key, {}, "revoked");
  EXPECT_EQ(scribe_.take(),
            (Lines{"granted 1000/0 on c1 to uid 500", "ended 1000/0 on c1: 0, reported, revoked"}));
}

TEST_F(LeaseObserverTest, HearsOfAGrantThatEndsBeforeItsConfirmation) {
  join("c1");
  const auto grants = reserve(1);
  book_.ended(grants[0].key, calls(1), "released");
  EXPECT_EQ(scribe_.take(), (Lines{"granted 1000/0 on c1 to uid 500",
                                   "ended 1000/0 on c1: 1, reported, released"}));
}

TEST_F(LeaseObserverTest, ALostNodeEndsItsGrantsAndBringsThemBack) {
  join("c1");
  auto grants = reserve(1);
  book_.confirmed(grants[0].key, now_);
  book_.claimed(grants[0].key);
  book_.usage(grants[0].key, calls(2));
  scribe_.take();
  now_ += 6s;
  (void)book_.tick(now_);
  EXPECT_EQ(scribe_.take(), Lines{"ended 1000/0 on c1: 2, node lost, "});
  grants[0].claimed = true;
  join("c1", grants);
  EXPECT_EQ(scribe_.take(), (Lines{"granted 1000/0 on c1 to uid 500", "claimed 1000/0 on c1"}));
}

TEST_F(LeaseObserverTest, ANodeThatLeavesOrReturnsWithoutAGrantEndsIt) {
  const NodeNumber first = join("c1");
  const auto gone = reserve(4);
  join("c2");
  const auto missing = reserve(1);
  for (const GrantTerms& terms : gone) book_.confirmed(terms.key, now_);
  book_.confirmed(missing[0].key, now_);
  scribe_.take();
  book_.node_left(first);
  EXPECT_EQ(scribe_.take().size(), 4u);
  join("c2");
  EXPECT_EQ(scribe_.take(), Lines{"ended 1001/0 on c2: 0, not held, "});
}

TEST_F(LeaseObserverTest, ARestartedManagerTellsWhatNodesHold) {
  join("c1");
  auto grants = reserve(1);
  grants[0].claimed = true;
  LeaseBook again = make_book(LeaseId{2000});
  again.set_observer(&scribe_);
  ASSERT_TRUE(again.register_node(offer("c1"), grants, now_));
  EXPECT_EQ(scribe_.take(), (Lines{"granted 1000/0 on c1 to uid 500", "claimed 1000/0 on c1"}));
  ASSERT_TRUE(again.register_node(offer("c1"), grants, now_));
  EXPECT_EQ(scribe_.take(), Lines{}) << "it is known already";
}

TEST_F(LeaseObserverTest, AClaimThatOnlyTheRegistrationTellsIsHeard) {
  join("c1");
  auto grants = reserve(1);
  book_.confirmed(grants[0].key, now_);
  scribe_.take();
  grants[0].claimed = true;
  join("c1", grants);
  EXPECT_EQ(scribe_.take(), Lines{"claimed 1000/0 on c1"});
}

// ---- what a manager before this one knew ----

class RestoredBookTest : public LeaseObserverTest {
 protected:
  RestoredBookTest() {
    join("c1");
    open_ = {reserve(1).front(), offer("c1"), calls(4)};
    open_.terms.claimed = true;
    book_ = make_book(LeaseId{5000});
    EXPECT_EQ(book_.restore({open_}, now_), std::vector<std::string>{});
    book_.set_observer(&scribe_);
    scribe_.take();
  }
  EndedGrant ended() const { return {open_.terms, calls(9), "released", 2s}; }

  OpenGrant open_;
};

TEST_F(RestoredBookTest, TheNodeIsLostUntilItComesBackAndTheLeaseGoesOn) {
  EXPECT_EQ(book_.nodes().views(now_).at(0).state, "lost");
  EXPECT_EQ(book_.grants().leases(false).at(0).state, "active");
  EXPECT_EQ(book_.grants().leases(false).at(0).usage.invocations, 4u);
  GrantTerms later = open_.terms;
  later.expires += 1h;
  const NodeNumber c1 = join("c1", {later});
  EXPECT_EQ(scribe_.take(), Lines{}) << "nothing has happened to it";
  EXPECT_EQ(book_.nodes().free(c1).cores, 3u);
  EXPECT_EQ(book_.grants().leases(false).at(0).expires_unix_ms, to_unix_ms(later.expires))
      << "the node knows of an extension that was not written";
}

TEST_F(RestoredBookTest, WithoutItsNodeTheGrantEndsAsLost) {
  (void)book_.tick(now_ + 1s);
  EXPECT_EQ(scribe_.take(), Lines{});
  (void)book_.tick(now_ + 1h);
  EXPECT_EQ(scribe_.take(), (Lines{"ended 1000/0 on c1: 4, node lost, "}));
}

TEST_F(RestoredBookTest, ANodeThatDoesNotHoldItAnyMoreEndsIt) {
  join("c1");
  EXPECT_EQ(scribe_.take(), (Lines{"ended 1000/0 on c1: 4, not held, "}));
}

TEST_F(RestoredBookTest, ANodeTellsWhatHasEndedMeanwhile) {
  const auto back = book_.register_node(offer("c1"), {}, now_, {ended()});
  ASSERT_TRUE(back);
  EXPECT_EQ(scribe_.take(), (Lines{"ended 1000/0 on c1: 9, reported, released"}));
  EXPECT_EQ(book_.nodes().free(back->node).cores, 4u);
  // It has not heard that this is known, and tells it again.
  ASSERT_TRUE(book_.register_node(offer("c1"), {}, now_, {ended()}));
  EXPECT_EQ(scribe_.take(), (Lines{"granted 1000/0 on c1 to uid 500", "claimed 1000/0 on c1",
                                   "ended 1000/0 on c1: 9, reported, released"}));
  EXPECT_EQ(book_.nodes().free(back->node).cores, 4u);
}

TEST_F(RestoredBookTest, AnExtensionIsTold) {
  join("c1", {open_.terms});
  ASSERT_TRUE(book_.extend(LeaseId{1000}, std::as_bytes(std::span(open_.terms.token)), 1h, now_));
  EXPECT_EQ(scribe_.take(), (Lines{"extended 1000/0 on c1"}));
}

TEST_F(RestoredBookTest, NewLeasesHaveOtherNumbers) {
  LeaseBook again = make_book(LeaseId{1000});
  EXPECT_EQ(again.restore({open_}, now_), std::vector<std::string>{});
  ASSERT_TRUE(again.register_node(offer("c1"), {open_.terms}, now_));
  LeaseRequest request;
  request.memory_bytes = 0;
  const auto given = again.reserve(request, {{}, "", "me@here"}, now_);
  ASSERT_TRUE(given);
  EXPECT_EQ(number(given->front().key.lease), 1001u);
}

}  // namespace
}  // namespace sublet::manager
