// Requests that wait: their order, and that none starves.
#include "desk_fixture.hpp"

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;
using Users = std::vector<std::uint32_t>;

TEST_F(DeskTest, ServesWhoWaitsWhenCoresComeFree) {
  join(4);
  const LeaseId held = take(1, 4);
  EXPECT_FALSE(take(2, ask(2)));
  const LeaseId waiting = wait(2, 2);
  EXPECT_EQ(serve(), Users{});
  give_back(held);
  EXPECT_EQ(serve(), Users{2});
  EXPECT_EQ(last_, waiting) << "the lease has another number than its request";
  EXPECT_TRUE(desk_.queue().empty());
}

TEST_F(DeskTest, ServesTheHigherPriorityFirst) {
  join(1);
  const LeaseId held = take(1, 1);
  wait(2, 1, 0);
  wait(3, 1, -5);
  wait(4, 1, 7);
  give_back(held);
  Users order;
  for (int i = 0; i < 3; ++i) {
    const Users served = serve();
    ASSERT_EQ(served.size(), 1u);
    order.push_back(served.front());
    give_back(last_);
  }
  EXPECT_EQ(order, (Users{4, 2, 3}));
}

TEST_F(DeskTest, ServesWhoHasHeldTheLeastFirst) {
  join(8);
  const LeaseId much = take(1, 7);
  const LeaseId little = take(2, 1);
  pass(10min);
  wait(1, 4);
  wait(2, 4);
  give_back(much);
  give_back(little);
  EXPECT_EQ(serve(), (Users{2, 1}));
}

TEST_F(DeskTest, ForgetsWhatWasHeldLongAgo) {
  join(8);
  const LeaseId much = take(1, 8);
  pass(10min);
  give_back(much);
  pass(24h);
  const LeaseId little = take(2, 1);
  pass(10min);
  EXPECT_LT(book_.share(1), book_.share(2));
  give_back(little);
}

TEST_F(DeskTest, ServesOneUsersRequestsInTheOrderInWhichTheyCame) {
  join(1);
  const LeaseId held = take(9, 1);
  std::vector<LeaseId> asked;
  for (int i = 0; i < 4; ++i) {
    pass(1s);
    asked.push_back(wait(1, 1));
  }
  give_back(held);
  for (const LeaseId number : asked) {
    ASSERT_EQ(serve(), Users{1});
    EXPECT_EQ(last_, number);
    give_back(last_);
  }
}

TEST_F(DeskTest, ServesUsersInTurnHoweverManyRequestsOneHas) {
  join(1);
  LeaseId held = take(9, 1);
  for (int i = 0; i < 10; ++i) wait(1, 1);
  pass(1s);
  wait(2, 1);
  wait(3, 1);
  Users order;
  for (int i = 0; i < 12; ++i) {
    pass(30s);
    give_back(held);
    const Users served = serve();
    ASSERT_EQ(served.size(), 1u);
    order.push_back(served.front());
    held = last_;
  }
  const auto place = [&order](std::uint32_t uid) {
    return std::find(order.begin(), order.end(), uid) - order.begin();
  };
  EXPECT_LE(place(2), 3) << "user 2 waited for the many requests of user 1";
  EXPECT_LE(place(3), 3);
}

TEST_F(DeskTest, LetsNarrowOnesPassOneThatDoesNotFit) {
  join(4);
  take(1, 2);
  wait(2, 4);
  EXPECT_TRUE(take(3, ask(1)));
  wait(4, 1);
  EXPECT_EQ(serve(), Users{4});
}

/// A stream of narrow leases of ever new users, of which there is always one that fits.
TEST_F(DeskTest, ServesAWideRequestThoughNarrowOnesNeverEnd) {
  constexpr std::uint32_t kCores = 8;
  join(kCores);
  std::vector<LeaseId> narrow;
  for (std::uint32_t i = 0; i < kCores; ++i) narrow.push_back(take(100 + i, 1));
  const LeaseId wide = wait(1, kCores);
  std::uint32_t next = 1000;
  std::size_t oldest = 0;
  for (int step = 0; step < 1000; ++step) {
    pass(1s);
    if (oldest < narrow.size()) give_back(narrow[oldest++]);
    for (const std::uint32_t uid : serve()) {
      if (uid == 1) {
        EXPECT_EQ(last_, wide);
        EXPECT_LT(step, 200) << "so long after it was raised";
        return;
      }
      narrow.push_back(last_);
    }
    ++next;
    if (auto taken = take(next, ask(1))) {
      narrow.push_back(*taken);
    } else {
      wait(next, 1);
    }
  }
  FAIL() << "it was passed for ever";
}

/// The same where those who pass it ask for a higher priority.
TEST_F(DeskTest, ServesALowPriorityThoughHigherOnesNeverEnd) {
  join(1);
  LeaseId held = take(9, 1);
  wait(1, 1, -10);
  for (std::uint32_t step = 0; step < 200; ++step) {
    wait(1000 + step, 1, 5);
    pass(20s);
    give_back(held);
    const Users served = serve();
    ASSERT_EQ(served.size(), 1u);
    held = last_;
    if (served.front() == 1) {
      EXPECT_GT(step, 10u) << "priorities mean nothing";
      return;
    }
  }
  FAIL() << "it was passed for ever";
}

TEST_F(DeskTest, KeepsWhatIsFreeForOneThatHasBeenRaised) {
  join(4);
  take(1, 3);
  wait(2, 4);
  pass(119s);
  EXPECT_TRUE(take(3, ask(1)));
  give_back(held_.rbegin()->first);
  pass(2s);
  const auto refused = take(3, ask(1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kOverloaded);
  expect_says(refused.error(), "kept for a request of 4 cores that has waited for 121 s");
  EXPECT_TRUE(take(4, ask(1, 0ms, 50))) << "one that stands before it";
}

TEST_F(DeskTest, KeepsNothingForOneThatCouldNeverFit) {
  join(4);
  wait(2, 8);
  LeaseRequest fat = ask(1);
  fat.memory_bytes = std::uint64_t{1} << 50;
  ASSERT_TRUE(wait(3, fat));
  pass(10min);
  EXPECT_TRUE(take(4, ask(1)));
  wait(5, 1);
  EXPECT_EQ(serve(), Users{5});
  join(8);
  EXPECT_EQ(serve(), Users{2}) << "a node has come";
}

TEST_F(DeskTest, TellsWhoWaitedInVainForHowLongAndWhoHoldsWhat) {
  join(4);
  take(1, 2);
  take(2, 1);
  take(3, 1);
  ASSERT_TRUE(wait(1, ask(2, 5s)));
  pass(4s);
  EXPECT_TRUE(desk_.expire(now_).empty());
  pass(1500ms);
  const auto expired = desk_.expire(now_);
  ASSERT_EQ(expired.size(), 1u);
  EXPECT_EQ(expired.front().error.kind(), ErrorKind::kOverloaded);
  expect_says(expired.front().error, "waited for 5.5 s");
  expect_says(expired.front().error, "asked for 2 cores");
  expect_says(expired.front().error, "2 are this user's, and 2 are of 2 other users");
  expect_says(expired.front().error, "wait longer");
  EXPECT_TRUE(desk_.queue().empty());
}

TEST_F(DeskTest, ForgetsWhoLeaves) {
  join(1);
  const LeaseId held = take(1, 1);
  const LeaseId first = wait(2, 1);
  wait(3, 1);
  EXPECT_TRUE(desk_.leave(first, now_));
  EXPECT_FALSE(desk_.leave(first, now_));
  give_back(held);
  EXPECT_EQ(serve(), Users{3});
}

TEST_F(DeskTest, BoundsHowManyWait) {
  for (std::size_t i = 0; i < wire::kMaxWaitingOfUser; ++i) wait(1, 1);
  const auto refused = wait(1, ask(1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kOverloaded);
  expect_says(refused.error(), "256 requests of this user wait already");
  std::uint32_t uid = 2;
  while (desk_.queue().size() < wire::kMaxWaiting) wait(uid++, 1);
  EXPECT_FALSE(wait(uid, ask(1)));
}

/// Whoever has waited goes back to where it was when no node takes it after all.
TEST_F(DeskTest, PutsOneBackInItsPlace) {
  join(1);
  const LeaseId held = take(9, 1);
  wait(1, 1);
  pass(90s);
  wait(1, 1);
  give_back(held);
  auto served = desk_.serve(now_);
  ASSERT_EQ(served.size(), 1u);
  book_.refused(served.front().grants.front().key);
  WaitingRequest again = served.front().request;
  EXPECT_EQ(again.first_since, now_ - 90s);
  again.number = book_.new_number();
  ASSERT_TRUE(desk_.wait(again, now_));
  served = desk_.serve(now_);
  ASSERT_EQ(served.size(), 1u);
  EXPECT_EQ(served.front().request.number, again.number);
}

TEST_F(DeskTest, ShowsWhoWaitsInOrder) {
  join(1);
  take(1, 1);
  wait(2, 1, -3);
  wait(3, 2);
  pass(7s);
  const auto all = desk_.waiting({}, now_);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].uid, 3u);
  EXPECT_EQ(all[0].state, "waiting");
  EXPECT_EQ(all[0].cores, 2u);
  EXPECT_EQ(all[0].place, 1u);
  EXPECT_EQ(all[0].waited, 7s);
  EXPECT_EQ(all[1].priority, -3);
  const auto own = desk_.waiting(2, now_);
  ASSERT_EQ(own.size(), 1u);
  EXPECT_EQ(own[0].place, 2u) << "others count, and are not shown";
}

/// Random users, widths, priorities and ends: no core twice, everything served in the end.
TEST_F(DeskTest, ServesEverybodyInTheEnd) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    const auto up_to = [&random](std::uint32_t most) {
      return static_cast<std::uint32_t>(random() % most);
    };
    if (nodes_ == 0) {
      for (int i = 0; i < 5; ++i) join(8);
    }
    std::size_t asked = 0;
    std::size_t done = 0;
    for (int step = 0; step < 2000 || !desk_.queue().empty(); ++step) {
      ASSERT_LT(step, 20000) << "seed " << seed;
      pass(milliseconds(100 + up_to(3000)));
      if (step < 2000 && up_to(3) == 0) {
        const auto request = ask(1 + up_to(up_to(10) == 0 ? 40 : 6), 365 * 24h,
                                 static_cast<std::int32_t>(up_to(5)) - 4);
        const std::uint32_t uid = 1 + up_to(6);
        if (wait(uid, request)) ++asked;
      }
      if (!held_.empty() && up_to(2) == 0) {
        give_back(std::next(held_.begin(), up_to(static_cast<std::uint32_t>(held_.size())))->first);
      }
      done += serve().size();
      std::uint64_t free = 0;
      for (const NodeInfo& node : book_.nodes().views(now_)) free += node.free_cores;
      ASSERT_EQ(free, book_.nodes().free_cores()) << "seed " << seed;
      ASSERT_EQ(book_.accounts().held_cores() + free, 40u) << "seed " << seed;
    }
    EXPECT_EQ(asked, done) << "seed " << seed;
    while (!held_.empty()) give_back(held_.begin()->first);
  }
}

}  // namespace
}  // namespace sublet::manager
