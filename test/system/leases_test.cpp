// Leases in full, with real managers: requests that wait, quotas, ends with notice.

#include "leases_fixture.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <future>
#include <mutex>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;

// ---- waiting ----

TEST_F(Leases, WaitsUntilCoresComeFree) {
  auto held = Session::open(managers_.session_options()).value_or_throw().lease({.cores = 4});
  ASSERT_TRUE(held);
  auto waiting = start({"--cores", "4", "--wait", "10m", "--", "/bin/sh", "-c", user(4, 5, 8)});
  ASSERT_TRUE(eventually([&] { return managers_.leases().size() == 2; }, 30s)) << said();
  const json shown = listed({"leases"})["leases"][1];
  EXPECT_EQ(shown["state"], "waiting");
  EXPECT_EQ(shown["place"], 1);
  EXPECT_EQ(shown["cores"], 4);
  EXPECT_EQ(shown["uid"], ::getuid());
  held->release();
  EXPECT_EQ(code_of(waiting), 8) << said();
}

TEST_F(Leases, AWaitEndsWithItsTimeItsClientOrAnOrder) {
  auto held = Session::open(managers_.session_options()).value_or_throw().lease({.cores = 4});
  ASSERT_TRUE(held);
  const Ended late = sublet({"lease", "--cores", "2", "--wait", "300ms", "--", "true"});
  EXPECT_EQ(late.code, 4) << late.output;
  expect_contains(late.output, "waited for ");
  expect_contains(late.output, "4 are this user's");
  {
    auto killed = start({"--wait", "10m", "--", "true"});
    ASSERT_TRUE(eventually([&] { return managers_.leases().size() == 2; }, 30s));
    killed.signal(SIGINT);  // nobody else is told yet: it ends by it
    ASSERT_TRUE(killed.wait(30s));
  }
  EXPECT_TRUE(eventually([&] { return managers_.leases().size() == 1; }, 30s));
  auto ordered = start({"--wait", "10m", "--", "true"});
  ASSERT_TRUE(eventually([&] { return managers_.leases().size() == 2; }, 30s));
  const auto number = managers_.leases()[1].id;
  EXPECT_EQ(sublet({"release", std::to_string(number), "--reason", "not now"}).code, 0);
  EXPECT_EQ(code_of(ordered), 4);
  expect_contains(said(), "the wait was ended by uid");
}

TEST_F(Leases, ASessionWaitsLongerThanItsTimeout) {
  SessionOptions options = managers_.session_options();
  options.timeout = 500ms;
  auto session = Session::open(options).value_or_throw();
  auto held = session.lease({.cores = 4});
  ASSERT_TRUE(held);
  auto later =
      std::async(std::launch::async, [&] { return session.lease({.cores = 4, .wait = 1min}); });
  ASSERT_TRUE(eventually([&] { return managers_.leases().size() == 2; }, 30s));
  EXPECT_EQ(later.wait_for(1500ms), std::future_status::timeout);
  held->release();
  EXPECT_TRUE(later.get());
}

TEST_F(Leases, AWaitOutlivesTheResourceManager) {
  auto held = Session::open(managers_.session_options()).value_or_throw().lease({.cores = 4});
  ASSERT_TRUE(held);
  auto session = Session::open(managers_.session_options()).value_or_throw();
  const auto waiting = [&](auto&& ask) { return std::async(std::launch::async, ask); };
  auto leased = waiting([&] { return session.lease({.cores = 2, .wait = 5min}); });
  auto requested = waiting([&] { return session.request({.cores = 2, .wait = 5min}); });
  ASSERT_TRUE(eventually([&] { return managers_.leases().size() == 3; }, 30s));
  managers_.resource_manager().signal(SIGKILL);
  ASSERT_TRUE(managers_.resource_manager().wait(30s));
  managers_.start_resource_manager();
  managers_.wait_for_nodes(1);
  EXPECT_TRUE(eventually([&] { return managers_.leases().size() == 3; }, 30s));
  held->release();
  auto lease = leased.get();
  EXPECT_TRUE(lease) << lease.error().what();
  auto grants = requested.get();
  EXPECT_TRUE(grants) << grants.error().what();
}

// ---- ends with notice ----

TEST_F(Leases, AReleaseWithNoticeGivesTheClientItsTime) {
  LeaseRequest request;
  request.notice = 1500ms;
  request.replace = false;
  auto session = Session::open(managers_.session_options()).value_or_throw();
  auto lease = session.lease(request).value_or_throw();
  std::mutex mutex;
  std::vector<EndingNotice> notices;
  std::vector<std::string> lost;
  lease.on_ending([&](const EndingNotice& notice) {
    const std::lock_guard lock(mutex);
    notices.push_back(notice);
  });
  lease.on_lost([&](const std::string& reason) {
    const std::lock_guard lock(mutex);
    lost.push_back(reason);
  });
  const Ended ended =
      sublet({"release", std::to_string(lease.id()), "--notice", "--reason", "maintenance"});
  EXPECT_EQ(ended.code, 0) << ended.output;
  expect_contains(ended.output, "ends in 1500 ms");
  ASSERT_TRUE(eventually(
      [&] {
        const std::lock_guard lock(mutex);
        return !notices.empty();
      },
      30s));
  {
    const std::lock_guard lock(mutex);
    EXPECT_LE(notices.front().left, 1500ms);
    EXPECT_FALSE(notices.front().leaving);
    expect_contains(notices.front().reason, "maintenance");
  }
  const auto extended = lease.extend(1h);
  ASSERT_FALSE(extended);
  expect_contains(extended.error().what(), "ended");
  ASSERT_TRUE(eventually(
      [&] {
        const std::lock_guard lock(mutex);
        return !lost.empty();
      },
      30s));
  managers_.wait_for_free_cores(4);
  const json info = listed({"leases", "--all"})["leases"][0];
  EXPECT_EQ(info["state"], "ended");
  expect_contains(info["reason"], "maintenance");
}

TEST_F(Leases, ADrainGivesEachLeaseItsNoticePeriod) {
  LeaseRequest request;
  request.notice = 700ms;
  request.replace = false;
  SessionOptions options = managers_.session_options();
  auto session = Session::open(options).value_or_throw();
  auto lease = session.lease(request).value_or_throw();
  auto spin = lease.function(CLIENT_FUNCTIONS, "spin_ms").value_or_throw();
  std::uint32_t ms = 60'000;
  std::uint32_t done = 0;
  auto call = spin.async(&ms, 4, &done, 4);
  std::atomic<std::int64_t> left{-1};
  lease.on_ending([&](const EndingNotice& notice) { left = notice.left.count(); });
  const Ended ended = sublet({"drain", "n1"});
  EXPECT_EQ(ended.code, 0) << ended.output;
  expect_contains(ended.output, "1 cut off when the time was over");
  EXPECT_LE(left.load(), 700);
  EXPECT_GE(left.load(), 0);
}

// ---- quotas ----

TEST_F(Leases, AQuotaHoldsAndStays) {
  const std::string me = std::to_string(::getuid());
  const Ended set =
      sublet({"quota", "set", "--user", me, "--cores", "2", "--core-seconds", "90000"});
  EXPECT_EQ(set.code, 0) << set.output;
  auto session = Session::open(managers_.session_options()).value_or_throw();
  const auto more = session.lease({.cores = 3});
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().kind(), ErrorKind::kDenied);
  expect_contains(more.error().what(), "uid " + me + " has a quota of 2 cores at one time");
  auto lease = session.lease({.cores = 2});
  ASSERT_TRUE(lease);
  managers_.resource_manager().signal(SIGKILL);
  ASSERT_TRUE(managers_.resource_manager().wait(30s));
  managers_.start_resource_manager();
  managers_.wait_for_nodes(1);
  const json shown = listed({"quota", "show", "--user", me})["quotas"];
  ASSERT_EQ(shown.size(), 1u) << shown;
  EXPECT_EQ(shown[0]["cores"], 2);
  EXPECT_EQ(shown[0]["core_seconds_a_day"], 90000);
  EXPECT_EQ(shown[0]["held_cores"], 2);
  EXPECT_EQ(shown[0]["own"], true);
  const Ended cleared = sublet({"quota", "clear", "--user", me});
  EXPECT_EQ(cleared.code, 0) << cleared.output;
  EXPECT_TRUE(session.lease({.cores = 1}));
}

TEST_F(Leases, WhatWasUsedTodayIsKnownAfterARestart) {
  const std::string me = std::to_string(::getuid());
  {
    auto session = Session::open(managers_.session_options()).value_or_throw();
    auto lease = session.lease({.cores = 4}).value_or_throw();
    auto spin = lease.function(CLIENT_FUNCTIONS, "spin_ms").value_or_throw();
    std::uint32_t ms = 500;
    std::uint32_t done = 0;
    ASSERT_TRUE(spin.call(&ms, 4, &done, 4).ok());
  }
  managers_.wait_for_free_cores(4);
  const auto used = [&] {
    return listed({"quota", "show", "--user", me})["quotas"][0]["used_core_seconds"].get<double>();
  };
  const double before = used();
  EXPECT_GT(before, 1.9);
  managers_.resource_manager().signal(SIGTERM);
  ASSERT_TRUE(managers_.resource_manager().wait(30s));
  managers_.start_resource_manager();
  managers_.wait_for_nodes(1);
  EXPECT_NEAR(used(), before, 0.01);
}

TEST_F(Leases, QuotaTakesNoNonsense) {
  EXPECT_EQ(sublet({"quota", "set", "--cores", "-1"}).code, 2);
  EXPECT_EQ(sublet({"quota", "set", "--cores", "99999999999999999999"}).code, 2);
  EXPECT_EQ(sublet({"quota", "set"}).code, 2);
  EXPECT_EQ(sublet({"quota", "clear", "--cores", "1"}).code, 2);
  EXPECT_EQ(sublet({"quota", "forget"}).code, 2);
  EXPECT_EQ(sublet({"quota", "show", "--user", "no such user"}).code, 2);
  EXPECT_EQ(sublet({"quota", "set", "--cores", "none"}).code, 0);
}

}  // namespace
}  // namespace sublet::test
