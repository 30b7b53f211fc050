// What users may have: cores at one time, and core-seconds in a day.
#include "desk_fixture.hpp"

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

Usage core_seconds(double seconds) {
  Usage usage;
  usage.core_seconds = seconds;
  return usage;
}

TEST_F(DeskTest, RefusesMoreCoresThanTheQuota) {
  join(64);
  set_quota(1, 8, {});
  const LeaseId held = take(1, 6);
  const auto refused = take(1, ask(3));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kOverloaded) << "it may wait";
  expect_says(refused.error(), "uid 1 has a quota of 8 cores at one time");
  expect_says(refused.error(), "6 are held, and 3 more are asked for");
  expect_says(refused.error(), "root may change it with `sublet quota set`");
  EXPECT_TRUE(take(1, ask(2)));
  EXPECT_TRUE(take(2, ask(20))) << "another user";
  const auto never = take(1, ask(9));
  ASSERT_FALSE(never);
  EXPECT_EQ(never.error().kind(), ErrorKind::kDenied) << "no wait helps";
  give_back(held);
  EXPECT_TRUE(take(1, ask(6)));
}

TEST_F(DeskTest, ServesOthersWhileAQuotaIsInTheWay) {
  join(8);
  set_quota(1, 4, {});
  const LeaseId held = take(1, 4);
  wait(1, 4);
  pass(10min);  // raised, but nothing is kept for it
  EXPECT_TRUE(take(2, ask(1)));
  wait(3, 3);
  EXPECT_EQ(serve(), std::vector<std::uint32_t>{3});
  give_back(held);
  EXPECT_EQ(serve(), std::vector<std::uint32_t>{1});
}

TEST_F(DeskTest, BoundsAUserWhoTakesEverything) {
  join(64);
  set_quota(0, 16, {});  // everybody
  std::uint64_t got = 0;
  for (int i = 0; i < 1000; ++i) got += take(1, ask(1)).has_value() ? 1 : 0;
  EXPECT_EQ(got, 16u);
  EXPECT_TRUE(take(2, ask(16)));
  EXPECT_TRUE(take(kOperator, ask(32))) << "an operator, who has none of his own";
}

TEST_F(DeskTest, CountsWhatIsUsedAndPromisedInADay) {
  join(64);
  set_quota(1, {}, 3 * 3600);
  const LeaseId held = take(1, ask(2)).value_or_throw();  // 2 cores for an hour
  auto refused = take(1, ask(2));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kOverloaded);
  expect_says(refused.error(), "10800 core-seconds a day");
  expect_says(refused.error(), "0 are used, 7200 are promised");
  expect_says(refused.error(), "need 7200 more");
  pass(10min);
  give_back(held, core_seconds(1200));
  EXPECT_TRUE(take(1, ask(2))) << "what was not used is not promised any more";
  EXPECT_FALSE(take(1, ask(1)));
  LeaseRequest brief = ask(1);
  brief.duration = 30min;
  EXPECT_TRUE(take(1, brief));
}

TEST_F(DeskTest, CountsOnlyWhatIsUsedToday) {
  join(64);
  set_quota(1, {}, 1000);
  now_ += 11h + 50min;  // ten minutes before midnight
  pass(0ms);
  const LeaseId held = take(1, ask(1)).value_or_throw();
  EXPECT_FALSE(take(1, ask(1))) << "600 core-seconds are promised until midnight";
  pass(5min);
  book_.usage(held_.at(held).front().key, core_seconds(300));
  EXPECT_NEAR(desk_.quotas(1, now_).back().used_core_seconds, 300, 1e-6);
  EXPECT_NEAR(desk_.quotas(1, now_).back().promised_core_seconds, 300, 1);
  pass(10min);
  book_.usage(held_.at(held).front().key, core_seconds(900));
  EXPECT_NEAR(desk_.quotas(1, now_).back().used_core_seconds, 600, 1e-6);
  EXPECT_NEAR(desk_.quotas(1, now_).back().promised_core_seconds, 45 * 60, 1);
}

TEST_F(DeskTest, RefusesAnExtensionBeyondTheQuota) {
  join(8);
  set_quota(1, {}, 2 * 3600);
  const LeaseId lease = take(1, ask(1)).value_or_throw();
  EXPECT_TRUE(desk_.may_extend(lease, 2h, now_));
  const auto refused = desk_.may_extend(lease, 2h + 10s, now_);
  ASSERT_FALSE(refused);
  expect_says(refused.error(), "uid 1 has a quota of 7200 core-seconds");
  set_quota(1, 0, {});
  EXPECT_FALSE(desk_.may_extend(lease, 1min, now_)) << "he holds more than he may by now";
  EXPECT_FALSE(take(1, ask(1)));
}

TEST_F(DeskTest, SetsClearsAndShowsQuotas) {
  join(8);
  set_quota(0, 4, {});
  set_quota(5, {}, 100);
  take(1, 2);
  auto shown = desk_.quotas({}, now_);
  ASSERT_EQ(shown.size(), 3u);
  EXPECT_TRUE(shown[0].everybody);
  EXPECT_EQ(shown[0].quota.cores, 4u);
  EXPECT_EQ(shown[1].uid, 1u);
  EXPECT_FALSE(shown[1].own);
  EXPECT_EQ(shown[1].quota.cores, 4u);
  EXPECT_EQ(shown[1].held_cores, 2u);
  EXPECT_TRUE(shown[2].own);
  EXPECT_EQ(shown[2].quota, (LeaseQuota{{}, 100}));
  // What is not set stays.
  ASSERT_TRUE(desk_.set_quota({.everybody = false,
                               .uid = 5,
                               .clear = false,
                               .set_cores = true,
                               .set_core_seconds = false,
                               .quota = {7, {}}}));
  EXPECT_EQ(desk_.quota_of(5), (LeaseQuota{7, 100}));
  ASSERT_TRUE(desk_.set_quota({.everybody = false, .uid = 5, .clear = true}));
  EXPECT_EQ(desk_.quota_of(5), (LeaseQuota{4, {}}));
}

TEST_F(DeskTest, EndsWithNotice) {
  join(8);
  LeaseRequest request = ask(2);
  request.notice = 30s;
  const LeaseId lease = take(1, request).value_or_throw();
  const Token token = held_.at(lease).front().token;
  const auto orders = book_.release(lease, "an operator wants it", now_, true);
  ASSERT_TRUE(orders);
  ASSERT_EQ(orders->size(), 1u);
  EXPECT_EQ(orders->front().left, 30s);
  const auto info = book_.grants().leases(false).front();
  EXPECT_EQ(info.state, "ending");
  EXPECT_EQ(info.reason, "an operator wants it");
  EXPECT_EQ(info.expires_unix_ms, to_unix_ms(now_ + 30s));
  const auto extended = book_.extend(lease, std::as_bytes(std::span(token)), 1h, now_);
  ASSERT_FALSE(extended);
  expect_says(extended.error(), "it is being ended, because an operator wants it");
  EXPECT_NEAR(book_.accounts().promised_core_ms(1, now_), 2 * 30'000, 1) << "no more than that";
  // Its node has not ended it: it is told to.
  pass(34s);
  EXPECT_TRUE(book_.tick(now_).revocations.empty());
  pass(2s);
  const auto late = book_.grants().leases(false).front();
  EXPECT_EQ(late.state, "ending");
  EXPECT_EQ(book_.grants().state(held_.at(lease).front().key), GrantState::kEnding);
  give_back(lease);
  EXPECT_EQ(book_.grants().leases(true).front().state, "ended");
  EXPECT_EQ(book_.grants().leases(true).front().reason, "released");
}

TEST_F(DeskTest, EndsAtOnceWhatNoClientHas) {
  join(8);
  auto grants = desk_.reserve(ask(1), user(1), now_).value_or_throw();
  EXPECT_EQ(book_.grants().leases(false).front().state, "reserved");
  book_.confirmed(grants.front().key, now_);
  EXPECT_EQ(book_.grants().leases(false).front().state, "granted");
  const auto orders = book_.release(grants.front().key.lease, "why not", now_, true);
  ASSERT_TRUE(orders);
  EXPECT_FALSE(orders->front().left);
}

TEST_F(DeskTest, TellsANodeThatReturnsOfTheEnd) {
  const NodeNumber node = join(8);
  const LeaseId lease = take(1, ask(1)).value_or_throw();
  std::vector<GrantTerms> held = held_.at(lease);
  held.front().claimed = true;
  book_.node_disconnected(node, now_);
  ASSERT_TRUE(book_.release(lease, "enough", now_, true));
  const auto back = book_.register_node(*book_.nodes().offer(node), held, now_ + 2s);
  ASSERT_TRUE(back);
  ASSERT_EQ(back->revocations.size(), 1u);
  EXPECT_EQ(back->revocations.front().left, 3s);
  EXPECT_EQ(book_.grants().leases(false).front().state, "ending");
}

}  // namespace
}  // namespace sublet::manager
