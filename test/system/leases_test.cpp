// Leases in full, with real managers: requests that wait, quotas, ends with notice, and `sublet
// lease` for scripts.

#include "command_fixture.hpp"
#include "support/eventually.hpp"
#include "support/managers.hpp"
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
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
using nlohmann::json;

class Leases : public CommandTest {
 protected:
  std::vector<std::string> environment() const {
    auto all = managers_.environment();
    all.emplace_back("SUBLET_LEASE");
    return all;
  }
  Ended sublet(std::vector<std::string> words) { return run(std::move(words), environment()); }
  json listed(std::vector<std::string> words) {
    words.insert(words.end(), {"--output", "json"});
    const Ended ended = sublet(std::move(words));
    auto value = json::parse(ended.output, nullptr, false);
    EXPECT_TRUE(value.is_object()) << ended.output;
    return value;
  }
  /// `sublet lease ...`, and what it has written so far.
  ChildProcess start(std::vector<std::string> words) {
    words.insert(words.begin(), {built_program("sublet"), "lease"});
    ChildProcess::Options options;
    options.environment = environment();
    options.environment.push_back("XDG_RUNTIME_DIR=" + directory_);
    options.output = output_ = directory_ + "/lease-" + std::to_string(++started_);
    return {words, options};
  }
  [[nodiscard]] std::string said() const {
    std::ifstream file(output_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  bool says(const std::string& text) {
    return eventually([&] { return said().find(text) != std::string::npos; }, 30s);
  }
  /// What a lease that is kept has printed as JSON.
  json kept() {
    EXPECT_TRUE(says("}\n")) << said();
    return json::parse(said().substr(0, said().find('\n')), nullptr, false);
  }
  static int code_of(ChildProcess& process) {
    const auto status = process.wait(30s);
    return status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
  }
  /// A shell's words for a program that leases so many cores and calls a function for so long.
  static std::string user(int cores, int ms, int code = 0, int wait_ms = 0) {
    return built_program("lease_user") + " " CLIENT_FUNCTIONS " " + std::to_string(cores) + " " +
           std::to_string(ms) + " " + std::to_string(code) + " " + std::to_string(wait_ms);
  }

  TestManagers managers_{{TestNode{}}, false, true};  // one node of 4 workers
  std::string output_;
  int started_ = 0;
};

// ---- sublet lease ----

TEST_F(Leases, AProgramUsesTheCoresThatItWasLeased) {
  const Ended ended = sublet({"lease", "--cores", "3", "--", "/bin/sh", "-c",
                              managers_.free_cores() == 4 ? user(3, 5, 7) : "exit 99"});
  EXPECT_EQ(ended.code, 7) << ended.output;
  expect_contains(ended.output, "3 workers, works");
  managers_.wait_for_free_cores(4);
  EXPECT_EQ(managers_.leases(true).size(), 1u) << "the program got a lease of its own";
}

TEST_F(Leases, ProgramsUseOneLeaseOneAfterTheOther) {
  const Ended ended = sublet({"lease", "--cores", "4", "--", "/bin/sh", "-c",
                              user(4, 5) + " && " + user(1, 5) + " && " + user(4, 5, 3)});
  EXPECT_EQ(ended.code, 3) << ended.output;
  EXPECT_EQ(managers_.leases(true).size(), 1u);
}

TEST_F(Leases, ProgramsShareItsPartsAtOneTime) {
  const std::string one = user(2, 300, 0, 20'000);
  const Ended ended =
      sublet({"lease", "--cores", "2", "--parts", "2", "--", "/bin/sh", "-c",
              one + " & a=$!; " + one + " & b=$!; " + one + " && wait $a && wait $b && exit 5"});
  EXPECT_EQ(ended.code, 5) << ended.output;
}

TEST_F(Leases, AProgramThatAsksForMoreIsTold) {
  const Ended ended = sublet({"lease", "--cores", "2", "--", "/bin/sh", "-c", user(3, 5)});
  EXPECT_EQ(ended.code, 92) << ended.output;
  expect_contains(ended.output, "asked for 1 part of 3 workers with 1 core of lease");
  expect_contains(ended.output, "which has 1 part of 2 workers");
}

TEST_F(Leases, IsKeptUntilItIsToldToEnd) {
  auto keeper = start({"--cores", "2", "--output", "json"});
  const json lease = kept();
  EXPECT_EQ(lease["cores"], 2);
  EXPECT_EQ(managers_.free_cores(), 2u);
  const std::string file = lease["file"];
  struct stat info {};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  auto with_it = environment();
  with_it.back() = "SUBLET_LEASE=" + file;
  const Ended ended =
      run_program({built_program("lease_user"), CLIENT_FUNCTIONS, "2", "5", "0"}, with_it);
  EXPECT_EQ(ended.code, 0) << ended.output;
  expect_contains(ended.output, "lease " + std::to_string(lease["lease"].get<std::uint64_t>()));
  keeper.signal(SIGTERM);
  EXPECT_EQ(code_of(keeper), 0);
  EXPECT_NE(::stat(file.c_str(), &info), 0) << "it left its file";
  managers_.wait_for_free_cores(4);
  // Others may not read it, and what is not there is no lease.
  const Ended late =
      run_program({built_program("lease_user"), CLIENT_FUNCTIONS, "2", "5", "0"}, with_it);
  EXPECT_EQ(late.code, 91) << late.output;
  expect_contains(late.output, "opening the file of a kept lease");
}

TEST_F(Leases, TheFileOfALeaseIsItsUsersAlone) {
  auto keeper = start({"--output", "json"});
  const std::string file = kept()["file"];
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  auto with_it = environment();
  with_it.back() = "SUBLET_LEASE=" + file;
  const auto use = [&] {
    return run_program({built_program("lease_user"), CLIENT_FUNCTIONS, "1", "5", "0"}, with_it);
  };
  Ended ended = use();
  EXPECT_EQ(ended.code, 91);
  expect_contains(ended.output, "nobody else's to read or write");
  ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
  std::ofstream(file, std::ios::trunc) << "this is no lease, but many bytes of something else";
  ended = use();
  EXPECT_EQ(ended.code, 91);
  expect_contains(ended.output, "is no file of a lease");
}

TEST_F(Leases, EndsWithItsKeeper) {
  auto keeper = start({"--cores", "4", "--output", "json"});
  (void)kept();
  keeper.signal(SIGKILL);
  managers_.wait_for_free_cores(4);
}

TEST_F(Leases, EndsWithThePipeThatIsItsStandardInput) {
  const Ended ended = run_program(
      {"/bin/sh", "-c", "echo | " + built_program("sublet") + " lease --cores 2 >/dev/null"},
      environment());
  EXPECT_EQ(ended.code, 0) << ended.output;
  managers_.wait_for_free_cores(4);
}

TEST_F(Leases, ForwardsSignalsAndReturnsTheProgramsCode) {
  auto running = start(
      {"--", "/bin/sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"});
  ASSERT_TRUE(says("ready"));
  running.signal(SIGTERM);
  EXPECT_EQ(code_of(running), 9);
  EXPECT_EQ(sublet({"lease", "--", "/bin/sh", "-c", "kill -KILL $$"}).code, 128 + SIGKILL);
  EXPECT_EQ(sublet({"lease", "--", "/no/such/program"}).code, 127);
  EXPECT_EQ(sublet({"lease", "--"}).code, 2);
  managers_.wait_for_free_cores(4);
}

TEST_F(Leases, OutlivesTheResourceManager) {
  auto keeper = start({"--cores", "2", "--output", "json"});
  const std::string file = kept()["file"];
  managers_.resource_manager().signal(SIGKILL);
  ASSERT_TRUE(managers_.resource_manager().wait(30s));
  auto with_it = environment();
  with_it.back() = "SUBLET_LEASE=" + file;
  const Ended ended =
      run_program({built_program("lease_user"), CLIENT_FUNCTIONS, "2", "5", "0"}, with_it);
  EXPECT_EQ(ended.code, 0) << ended.output;
  managers_.start_resource_manager();
  managers_.wait_for_nodes(1);
  EXPECT_EQ(managers_.free_cores(), 2u);
  EXPECT_EQ(managers_.leases().at(0).state, "active");
}

TEST_F(Leases, RefusesOddOptions) {
  const std::pair<std::vector<std::string>, std::string> kWrong[] = {
      {{"--cores", "0"}, "the number of cores per part is 0"},
      {{"--time", "-1s"}, "--time: '-1s' is no time"},
      {{"--time", "0"}, "the duration in milliseconds is 0"},
      {{"--time", "99999999999999h"}, "--time"},
      {{"--wait", "8d"}, "'8d' is no time from 0 to 168h"},
      {{"--notice", "2h"}, "'2h' is no time from 0 to 1h"},
      {{"--priority", "101"}, "priority is 101; allowed are -100 to 100"},
      {{"--priority", "high"}, "--priority is 'high'"},
      {{"--placement", "left"}, "--placement is 'left'"},
      {{"--memory", "lots"}, "--memory"}};
  for (const auto& [words, text] : kWrong) {
    std::vector<std::string> all = {"lease"};
    all.insert(all.end(), words.begin(), words.end());
    all.insert(all.end(), {"--", "true"});
    const Ended ended = sublet(all);
    EXPECT_EQ(ended.code, 2) << words.front() << ": " << ended.output;
    expect_contains(ended.output, text);
  }
}

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
