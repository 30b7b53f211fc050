#include <resource_manager/lease_book.hpp>
#include <resource_manager/refusal_text.hpp>

#include <gtest/gtest.h>

#include <random>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMebibyte = 1u << 20;

std::span<const std::byte> bytes(const Token& token) {
  return std::as_bytes(std::span(token));
}

class LeaseBookTest : public testing::Test {
 protected:
  LeaseBookTest() : book_(LeaseBook::Limits{}, LeaseId{1000}, random_bytes()) {}

  static LeaseBook::Random random_bytes() {
    return [engine = std::mt19937_64(7)](std::span<std::byte> bytes) mutable {
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(engine());
    };
  }

  static NodeOffer offer(const std::string& name, std::uint32_t cores,
                         std::uint64_t memory = 1024 * kMebibyte) {
    return {name, "boot/" + name, cores, memory, "0", {"unix:@" + name}};
  }

  static NodeOffer offer_with_gpus(const std::string& name, std::uint32_t cores,
                                   std::uint32_t gpus) {
    NodeOffer made = offer(name, cores);
    for (std::uint32_t i = 0; i < gpus; ++i) {
      made.gpus.push_back({"GPU-" + name + "-" + std::to_string(i)});
    }
    return made;
  }

  NodeNumber join(const std::string& name, std::uint32_t cores,
                  std::uint64_t memory = 1024 * kMebibyte) {
    return book_.register_node(offer(name, cores, memory), {}, now_)->node;
  }

  static LeaseRequest ask(std::uint32_t cores, std::uint32_t parts = 1, std::uint64_t memory = 0) {
    LeaseRequest wanted;
    wanted.cores = cores;
    wanted.parts = parts;
    wanted.memory_bytes = memory;
    wanted.duration = 60s;
    wanted.placement = Placement::kPack;
    return wanted;
  }

  static Requester someone() {
    return {{4711, 4712, 0, "", Proof::kPeerCredentials}, "", "someone@somewhere"};
  }

  std::vector<GrantTerms> grant(const LeaseRequest& wanted) {
    auto grants = book_.reserve(wanted, someone(), now_);
    EXPECT_TRUE(grants) << grants.error().what();
    for (const GrantTerms& terms : *grants) book_.confirmed(terms.key, now_);
    return *grants;
  }

  std::uint32_t free_cores() const {
    std::uint32_t free = 0;
    for (const NodeInfo& node : book_.nodes().views(now_)) free += node.free_cores;
    return free;
  }

  /// Time passes with heartbeats of all nodes that are up.
  LeaseBook::Due pass(milliseconds time) {
    now_ += time;
    for (const NodeInfo& node : book_.nodes().views(now_)) {
      if (node.state == "lost") continue;
      EXPECT_TRUE(book_.heartbeat(*book_.nodes().find(node.node_id), now_));
    }
    return book_.tick(now_);
  }

  std::string state() const { return book_.grants().leases(true).front().state; }

  Time now_{1'700'000'000'000ms};
  LeaseBook book_;
};

TEST_F(LeaseBookTest, RefusalSaysWhatWasAskedAndWhatIsFree) {
  join("c1", 2, 900 * kMebibyte);
  join("c2", 1, 4096 * kMebibyte);
  const auto grants = book_.reserve(ask(2, 4, 1024 * kMebibyte), someone(), now_);
  ASSERT_FALSE(grants);
  EXPECT_EQ(grants.error().kind(), ErrorKind::kOverloaded);
  EXPECT_STREQ(grants.error().what(),
               "asked for 8 cores in 4 parts of 2 and 1 GiB each; free are 3 cores on 2 nodes: "
               "c1 2 cores 900 MiB, c2 1 core 4 GiB; no node is lost");
}

TEST_F(LeaseBookTest, RefusalCountsLostAndDrainingNodes) {
  join("c1", 2);
  book_.node_disconnected(join("c2", 2), now_);
  book_.set_draining(join("c3", 2), true);
  const auto grants = book_.reserve(ask(3), someone(), now_);
  ASSERT_FALSE(grants);
  EXPECT_STREQ(grants.error().what(),
               "asked for 3 cores and 0 bytes; free are 2 cores on 1 node: c1 2 cores 1 GiB; "
               "1 node is lost; 1 node is draining");
}

TEST_F(LeaseBookTest, RefusalWithoutAnyNodeSaysSo) {
  const auto grants = book_.reserve(ask(1, 1, 1536 * kMebibyte), someone(), now_);
  ASSERT_FALSE(grants);
  EXPECT_STREQ(grants.error().what(), "asked for 1 core and 1.5 GiB; no node has registered");
}

TEST_F(LeaseBookTest, AllPartsOrNothing) {
  join("c1", 3);
  EXPECT_FALSE(book_.reserve(ask(1, 4), someone(), now_));
  EXPECT_EQ(free_cores(), 3u);
  EXPECT_EQ(book_.grants().live(), 0u);
}

TEST_F(LeaseBookTest, CoresStayTakenUntilTheNodeSaysTheyAreFree) {
  join("c1", 4);
  const auto grants = grant(ask(4));
  book_.claimed(grants[0].key);
  EXPECT_EQ(state(), "active");
  EXPECT_EQ(book_.withdraw(grants[0].key.lease, now_).size(), 1u);
  EXPECT_EQ(free_cores(), 0u);
  book_.ended(grants[0].key, {}, "released");
  EXPECT_EQ(free_cores(), 4u);
}

TEST_F(LeaseBookTest, DroppedHandleEndsOnlyWhatNobodyClaimed) {
  join("c1", 4);
  const auto grants = grant(ask(1, 2));
  book_.claimed(grants[0].key);
  const auto revocations = book_.handle_dropped(grants[0].key.lease, now_);
  ASSERT_EQ(revocations.size(), 1u);
  EXPECT_EQ(revocations[0].key, grants[1].key);
  EXPECT_TRUE(revocations[0].unclaimed_only);
  EXPECT_EQ(book_.grants().state(grants[0].key), GrantState::kClaimed);
}

TEST_F(LeaseBookTest, ClaimThatCrossesTheRevocationWins) {
  join("c1", 4);
  const auto grants = grant(ask(1));
  book_.handle_dropped(grants[0].key.lease, now_);
  EXPECT_EQ(book_.grants().state(grants[0].key), GrantState::kLapsing);
  book_.claimed(grants[0].key);
  EXPECT_EQ(book_.grants().state(grants[0].key), GrantState::kClaimed);
}

TEST_F(LeaseBookTest, UnclaimedGrantLapsesAfterItsNodeDidNotAct) {
  join("c1", 1);
  const auto grants = grant(ask(1));
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(pass(1s).revocations.empty());
  const auto due = pass(1s).revocations;
  ASSERT_EQ(due.size(), 1u);
  EXPECT_TRUE(due[0].unclaimed_only);
}

TEST_F(LeaseBookTest, ExpiredGrantIsRevokedAndRevokedAgain) {
  join("c1", 1);
  const auto grants = grant(ask(1));
  book_.claimed(grants[0].key);
  for (int i = 0; i < 65; ++i) EXPECT_TRUE(pass(1s).revocations.empty());
  EXPECT_EQ(pass(1s).revocations.size(), 1u);
  EXPECT_EQ(state(), "ending");
  EXPECT_EQ(pass(1s).revocations.size(), 0u);
  EXPECT_EQ(pass(3s).revocations.size(), 1u);
  book_.ended(grants[0].key, {}, "released");
  EXPECT_EQ(state(), "ended");
}

TEST_F(LeaseBookTest, ExtensionCountsFromNowAndNeverShortens) {
  join("c1", 1);
  const auto grants = grant(ask(1));
  book_.claimed(grants[0].key);
  pass(10s);
  const LeaseId lease = grants[0].key.lease;
  EXPECT_EQ(book_.extend(lease, bytes(grants[0].token), 1s, now_)->expires, grants[0].expires);
  EXPECT_EQ(book_.extend(lease, bytes(grants[0].token), 100s, now_)->expires, now_ + 100s);
}

TEST_F(LeaseBookTest, ExtensionNeedsATokenOfTheLease) {
  join("c1", 2);
  const auto first = grant(ask(1));
  const auto second = grant(ask(1));
  const auto result = book_.extend(first[0].key.lease, bytes(second[0].token), 100s, now_);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::kDenied);
  EXPECT_FALSE(book_.extend(first[0].key.lease, bytes(first[0].token).first(15), 1s, now_));
  EXPECT_FALSE(book_.extend(LeaseId{5}, bytes(first[0].token), 1s, now_));
}

TEST_F(LeaseBookTest, SilentNodeIsLostWithItsGrants) {
  const NodeNumber node = join("c1", 2);
  grant(ask(2));
  now_ += 4s;
  EXPECT_TRUE(book_.tick(now_).notes.empty());
  now_ += 2s;
  EXPECT_EQ(book_.tick(now_).notes.size(), 1u);
  EXPECT_EQ(book_.nodes().views(now_)[0].state, "lost");
  EXPECT_EQ(state(), "ended");
  EXPECT_FALSE(book_.heartbeat(node, now_));
}

TEST_F(LeaseBookTest, LostNodeComesBackWithItsGrants) {
  join("c1", 2);
  auto grants = grant(ask(2));
  now_ += 6s;
  book_.tick(now_);
  ASSERT_EQ(book_.grants().live(), 0u);
  grants[0].claimed = true;
  const auto back = book_.register_node(offer("c1", 2), grants, now_);
  ASSERT_TRUE(back);
  EXPECT_TRUE(back->notes.empty());
  EXPECT_EQ(state(), "active");
  EXPECT_EQ(book_.grants().leases(true).front().cores, 2u);
  EXPECT_EQ(free_cores(), 0u);
}

TEST_F(LeaseBookTest, LostNodeComesBackWithItsGrantsAfterAnotherTookItsNameAndLeft) {
  join("c1", 2);
  auto held = grant(ask(1));
  held[0].claimed = true;
  book_.claimed(held[0].key);
  now_ += 6s;
  (void)book_.tick(now_);
  book_.node_left(join("c1", 2));  // a second executor manager of that node comes and goes
  ASSERT_TRUE(book_.register_node(offer("c1", 2), held, now_));
  const auto leases = book_.grants().leases(true);
  ASSERT_EQ(leases.size(), 1u);
  EXPECT_EQ(leases[0].state, "active");
  EXPECT_EQ(leases[0].cores, 1u);
}

TEST_F(LeaseBookTest, RestartedManagerTakesOverWhatNodesHold) {
  join("c1", 4);
  auto grants = grant(ask(2, 2));
  grants[0].claimed = true;
  LeaseBook again(LeaseBook::Limits{}, grants[0].key.lease, random_bytes());
  const auto back = again.register_node(offer("c1", 4), grants, now_);
  ASSERT_TRUE(back);
  EXPECT_TRUE(back->revocations.empty());
  EXPECT_EQ(again.grants().leases(false).front().state, "active");
  EXPECT_EQ(again.grants().leases(false).front().owner, "someone@somewhere");
  EXPECT_FALSE(again.reserve(ask(1), someone(), now_));
  EXPECT_TRUE(again.extend(grants[1].key.lease, bytes(grants[1].token), 100s, now_));
}

TEST_F(LeaseBookTest, NumbersOfNewLeasesAreNotThoseThatNodesHold) {
  join("c1", 4);
  const auto grants = grant(ask(1));
  LeaseBook again(LeaseBook::Limits{}, grants[0].key.lease, random_bytes());
  ASSERT_TRUE(again.register_node(offer("c1", 4), grants, now_));
  EXPECT_NE(again.reserve(ask(1), someone(), now_)->front().key.lease, grants[0].key.lease);
}

TEST_F(LeaseBookTest, RefusesWhatANodeClaimsToHoldBeyondItsCores) {
  join("c1", 4);
  auto held = grant(ask(2, 2));
  held[1].workers = 3;
  LeaseBook again(LeaseBook::Limits{}, LeaseId{5000}, random_bytes());
  const auto back = again.register_node(offer("c1", 4), held, now_);
  ASSERT_TRUE(back);
  ASSERT_EQ(back->revocations.size(), 1u);
  EXPECT_EQ(back->revocations[0].key.part, 1u);
  ASSERT_EQ(back->notes.size(), 1u);
  EXPECT_NE(back->notes[0].find("its 3 cores are more than the 2"), std::string::npos);
}

TEST_F(LeaseBookTest, CountsAllCoresOfWideWorkers) {
  join("c1", 8);
  LeaseRequest wanted = ask(2);
  wanted.cores_per_worker = 3;
  const auto grants = grant(wanted);
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants[0].workers, 2u);
  EXPECT_EQ(grants[0].cores_per_worker, 3u);
  EXPECT_EQ(free_cores(), 2u);
  EXPECT_EQ(book_.grants().leases(false).front().cores, 6u);
  book_.ended(grants[0].key, {}, "released");
  EXPECT_EQ(free_cores(), 8u);
}

TEST_F(LeaseBookTest, TakesWideWorkersOverAfterARestart) {
  join("c1", 8);
  LeaseRequest wanted = ask(2);
  wanted.cores_per_worker = 3;
  auto held = grant(wanted);
  LeaseBook again(LeaseBook::Limits{}, LeaseId{5000}, random_bytes());
  ASSERT_TRUE(again.register_node(offer("c1", 8), held, now_)->revocations.empty());
  EXPECT_EQ(again.nodes().views(now_).front().free_cores, 2u);
  held[0].cores_per_worker = 2;
  const auto other = again.register_node(offer("c1", 8), held, now_);
  ASSERT_EQ(other->revocations.size(), 1u);
  EXPECT_NE(other->notes[0].find("other terms"), std::string::npos);
  LeaseBook third(LeaseBook::Limits{}, LeaseId{5000}, random_bytes());
  const auto beyond = third.register_node(offer("c1", 3), held, now_);
  ASSERT_EQ(beyond->notes.size(), 1u);
  EXPECT_NE(beyond->notes[0].find("its 4 cores are more than the 3"), std::string::npos);
}

TEST_F(LeaseBookTest, SaysWhatTheLargestNodeHasForOneWorker) {
  NodeOffer oversubscribed = offer("c1", 16);
  oversubscribed.widest_worker = 4;
  ASSERT_TRUE(book_.register_node(oversubscribed, {}, now_));
  join("c2", 2);
  LeaseRequest wanted = ask(1);
  wanted.cores_per_worker = 5;
  const auto refused = book_.reserve(wanted, someone(), now_);
  ASSERT_FALSE(refused);
  EXPECT_STREQ(
      refused.error().what(),
      "asked for 1 worker of 5 cores each and 0 bytes; free are 18 cores on 2 nodes: c1 16 "
      "cores 1 GiB, c2 2 cores 1 GiB; the cores of a worker are on one node, and no node "
      "has so many: the largest, c1, has 4; no node is lost");
  wanted.cores_per_worker = 4;
  EXPECT_TRUE(book_.reserve(wanted, someone(), now_));
}

TEST_F(LeaseBookTest, GrantsAGpuOnce) {
  ASSERT_TRUE(book_.register_node(offer_with_gpus("c1", 8, 3), {}, now_));
  join("c2", 64);
  LeaseRequest wanted = ask(1);
  wanted.gpus_per_worker = 2;
  const auto grants = grant(wanted);
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants[0].gpus_per_worker, 2u);
  EXPECT_EQ(book_.nodes().views(now_)[0].free_gpus, 1u);
  EXPECT_EQ(book_.grants().leases(false).front().gpus, 2u);
  const auto refused = book_.reserve(wanted, someone(), now_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kOverloaded);
  EXPECT_STREQ(refused.error().what(),
               "asked for 1 worker of 1 core and 2 GPUs each and 0 bytes; free are 71 cores on 2 "
               "nodes: c1 7 cores 1 GiB 1 GPU, c2 64 cores 1 GiB 0 GPUs; no node is lost");
  book_.ended(grants[0].key, {}, "released");
  EXPECT_EQ(book_.nodes().views(now_)[0].free_gpus, 3u);
  EXPECT_TRUE(book_.reserve(wanted, someone(), now_));
}

TEST_F(LeaseBookTest, SaysThatNoNodeHasTheGpus) {
  join("c2", 64);
  LeaseRequest wanted = ask(1);
  wanted.gpus_per_worker = 4;
  const auto none = book_.reserve(wanted, someone(), now_);
  ASSERT_FALSE(none);
  EXPECT_NE(std::string(none.error().what()).find("; no node offers GPUs"), std::string::npos)
      << none.error().what();
  ASSERT_TRUE(book_.register_node(offer_with_gpus("c1", 8, 3), {}, now_));
  const auto few = book_.reserve(wanted, someone(), now_);
  ASSERT_FALSE(few);
  EXPECT_NE(std::string(few.error().what())
                .find("; the GPUs of a worker are on one node, and no node has so many: c1 has the "
                      "most, 3"),
            std::string::npos)
      << few.error().what();
}

TEST_F(LeaseBookTest, TakesGpusOverAfterARestart) {
  const NodeOffer node = offer_with_gpus("c1", 8, 3);
  ASSERT_TRUE(book_.register_node(node, {}, now_));
  LeaseRequest wanted = ask(2);
  wanted.gpus_per_worker = 1;
  auto held = grant(wanted);
  LeaseBook again(LeaseBook::Limits{}, LeaseId{5000}, random_bytes());
  ASSERT_TRUE(again.register_node(node, held, now_)->revocations.empty());
  EXPECT_EQ(again.nodes().views(now_).front().free_gpus, 1u);
  LeaseBook third(LeaseBook::Limits{}, LeaseId{5000}, random_bytes());
  const auto beyond = third.register_node(offer_with_gpus("c1", 8, 1), held, now_);
  ASSERT_EQ(beyond->notes.size(), 1u);
  EXPECT_NE(beyond->notes[0].find("its 2 GPUs are more than the 1"), std::string::npos)
      << beyond->notes[0];
  held[0].gpus_per_worker = 0;
  const auto other = again.register_node(node, held, now_);
  ASSERT_EQ(other->revocations.size(), 1u);
  EXPECT_NE(other->notes[0].find("other terms"), std::string::npos);
}

TEST_F(LeaseBookTest, TakesAGpuOfTwoNodesForTheFirstOnes) {
  const NodeOffer first = offer_with_gpus("c1", 4, 2);
  NodeOffer second = offer("c2", 4);
  second.gpus = {first.gpus[1], {"GPU-c2-0"}, {"GPU-c2-0"}};
  const auto number = book_.register_node(first, {}, now_)->node;
  const auto registered = book_.register_node(second, {}, now_);
  ASSERT_EQ(registered->notes.size(), 1u);
  EXPECT_EQ(registered->notes[0],
            "node c2 offers GPU-c1-1, which is node c1's; start one of the two with --gpus none");
  EXPECT_EQ(book_.nodes().views(now_)[1].gpus, (std::vector<GpuInfo>{{"GPU-c2-0"}}));
  EXPECT_TRUE(book_.register_node(first, {}, now_)->notes.empty()) << "it comes back to its own";
  LeaseRequest wanted = ask(1);
  wanted.gpus_per_worker = 2;
  const auto held = grant(wanted);
  book_.node_disconnected(number, now_);
  EXPECT_EQ(book_.register_node(second, {}, now_)->notes.size(), 1u) << "it may come back with it";
  book_.ended(held[0].key, {}, "released");
  // The other one has them once the first one has gone.
  book_.node_left(number);
  EXPECT_TRUE(book_.register_node(second, {}, now_)->notes.empty());
  EXPECT_EQ(book_.nodes().views(now_)[0].gpus.size(), 2u);
}

TEST_F(LeaseBookTest, CountsTheGpusThatANodeLeasesByItself) {
  const auto node = book_.register_node(offer_with_gpus("c1", 8, 3), {}, now_)->node;
  ASSERT_TRUE(book_.heartbeat(node, now_, {.cores = 1, .gpus = 2}));
  LeaseRequest wanted = ask(1);
  wanted.gpus_per_worker = 2;
  EXPECT_FALSE(book_.reserve(wanted, someone(), now_));
  wanted.gpus_per_worker = 1;
  EXPECT_TRUE(book_.reserve(wanted, someone(), now_));
}

TEST_F(LeaseBookTest, RefusesATokenThatTwoNodesHold) {
  join("c1", 1);
  const auto held = grant(ask(1));
  auto forged = held;
  forged[0].key.lease = LeaseId{77};
  const auto other = book_.register_node(offer("c2", 1), forged, now_);
  ASSERT_TRUE(other);
  ASSERT_EQ(other->notes.size(), 1u);
  EXPECT_NE(other->notes[0].find("another grant has the same token"), std::string::npos);
  EXPECT_EQ(book_.grants().state(held[0].key), GrantState::kGranted);
}

TEST_F(LeaseBookTest, RefusesAGrantThatHadEnded) {
  const NodeNumber node = join("c1", 1);
  const auto held = grant(ask(1));
  book_.ended(held[0].key, {}, "released");
  const auto back = book_.register_node(offer("c1", 1), held, now_);
  ASSERT_EQ(back->revocations.size(), 1u);
  EXPECT_EQ(back->revocations[0].key, held[0].key);
  EXPECT_EQ(back->node, node);
}

TEST_F(LeaseBookTest, RevokesWhatANodeHoldsOnOtherTerms) {
  join("c1", 2);
  auto held = grant(ask(1));
  held[0].token[0] ^= 1;
  const auto back = book_.register_node(offer("c1", 2), held, now_);
  ASSERT_EQ(back->revocations.size(), 1u);
  EXPECT_EQ(book_.grants().state(held[0].key), GrantState::kEnding);
}

TEST_F(LeaseBookTest, DrainingNodeKeepsItsGrantsAndGetsNone) {
  const NodeNumber node = join("c1", 4);
  const auto grants = grant(ask(1));
  book_.set_draining(node, true);
  EXPECT_FALSE(book_.reserve(ask(1), someone(), now_));
  EXPECT_EQ(book_.grants().state(grants[0].key), GrantState::kGranted);
  book_.set_draining(node, false);
  EXPECT_TRUE(book_.reserve(ask(1), someone(), now_));
  EXPECT_EQ(book_.nodes().named("c1"), std::vector{node});
  EXPECT_STREQ(book_.nodes().named("c9").error().what(), "no node is named 'c9'; there are: c1");
}

TEST_F(LeaseBookTest, WithdrawnLeaseLeavesNoTrace) {
  join("c1", 2);
  const auto grants = book_.reserve(ask(1, 2), someone(), now_);
  book_.withdraw(grants->front().key.lease, now_);
  book_.refused((*grants)[0].key);
  EXPECT_TRUE(book_.grants().leases(true).empty());
  book_.ended((*grants)[1].key, {}, "released");
  EXPECT_TRUE(book_.grants().leases(true).empty());
  EXPECT_EQ(free_cores(), 2u);
}

TEST_F(LeaseBookTest, ExcludedNodesAreNotUsed) {
  const NodeNumber node = join("c1", 2);
  join("c2", 2);
  const auto grants = book_.reserve(ask(2), someone(), now_, {node});
  ASSERT_TRUE(grants);
  EXPECT_NE(grants->front().key.node, node);
  EXPECT_FALSE(book_.reserve(ask(1), someone(), now_, {grants->front().key.node, node}));
}

TEST_F(LeaseBookTest, UsageOutlivesTheGrantsAndIsSummed) {
  join("c1", 2);
  const auto grants = grant(ask(1, 2));
  Usage usage;
  usage.invocations = 3;
  usage.core_seconds = 1;
  book_.usage(grants[0].key, usage);
  book_.ended(grants[1].key, usage, "released");
  EXPECT_EQ(book_.grants().leases(false).front().usage.invocations, 6u);
  book_.ended(grants[0].key, usage, "released");
  EXPECT_EQ(book_.grants().leases(true).front().usage.core_seconds, 2.0);
}

TEST_F(LeaseBookTest, KeepsOnlySoManyEndedLeases) {
  join("c1", 1);
  for (int i = 0; i < 1010; ++i) {
    const auto grants = grant(ask(1));
    book_.ended(grants[0].key, {}, "released");
  }
  EXPECT_EQ(book_.grants().leases(true).size(), 1000u);
}

TEST_F(LeaseBookTest, NodeThatLeavesTakesItsGrantsAlong) {
  const NodeNumber node = join("c1", 1);
  grant(ask(1));
  book_.node_left(node);
  EXPECT_EQ(book_.grants().live(), 0u);
  EXPECT_TRUE(book_.nodes().views(now_).empty());
}

TEST_F(LeaseBookTest, RefusesOffersThatAreNone) {
  EXPECT_FALSE(book_.register_node(offer("", 1), {}, now_));
  EXPECT_FALSE(book_.register_node(offer("c1", 0), {}, now_));
  EXPECT_FALSE(book_.register_node(offer(std::string(300, 'x'), 1), {}, now_));
}

TEST(BytesText, IsShort) {
  EXPECT_EQ(bytes_text(0), "0 bytes");
  EXPECT_EQ(bytes_text(1023), "1023 bytes");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(900 * kMebibyte), "900 MiB");
  EXPECT_EQ(bytes_text(~std::uint64_t{0}), "16777215.9 TiB");
}

}  // namespace
}  // namespace sublet::manager
