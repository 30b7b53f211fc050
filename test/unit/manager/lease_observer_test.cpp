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

}  // namespace
}  // namespace sublet::manager
