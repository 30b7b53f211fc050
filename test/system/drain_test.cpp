// Nodes that are given back while clients use them: nothing hangs, nothing is wrong, and work goes
// on elsewhere.

#include "support/managers.hpp"
#include <base/shared_memory.hpp>
#include <common/manager_query.hpp>
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <mutex>
#include <string>
#include <vector>

namespace sublet {
namespace {

using namespace std::chrono_literals;
using test::ChildProcess;
using test::eventually;
using test::TestManagers;
using test::TestNode;

TestNode one_worker(const std::string& name) {
  TestNode node;
  node.name = name;
  node.oversubscribe = 1;
  return node;
}

class Drain : public ::testing::Test {
 protected:
  void open(const LeaseRequest& request = {}) {
    SessionOptions options = managers_.session_options("client");
    options.transport = "tcp";  // so that the nodes are others than the client's
    session_ = Session::open(options).value_or_throw();
    lease_ = session_.lease(request).value_or_throw();
    lease_.on_ending([this](const EndingNotice& notice) {
      const std::lock_guard lock(mutex_);
      notices_.push_back(notice);
    });
  }
  std::vector<EndingNotice> notices() {
    const std::lock_guard lock(mutex_);
    return notices_;
  }
  /// Index among the test's nodes of the one that worker 0 is on.
  std::size_t node_of_worker(std::size_t worker = 0) {
    return lease_.worker(worker).node_name == "n1" ? 0 : 1;
  }
  static void expect_clean_end(ChildProcess& node) {
    const auto status = node.wait(20s);
    ASSERT_TRUE(status) << "the executor manager did not end";
    EXPECT_TRUE(WIFEXITED(*status)) << *status;
    EXPECT_EQ(WEXITSTATUS(*status), 0);
  }
  Result<void> drain(const std::string& node, std::chrono::milliseconds time) {
    return manager::order_drain(managers_.address(), node, time, "a test wants it back", 30s);
  }

  TestManagers managers_{{one_worker("n1"), one_worker("n2")}, true};
  Session session_;
  Lease lease_;
  std::mutex mutex_;
  std::vector<EndingNotice> notices_;
};

TEST_F(Drain, LetsTheCallUnderWayEndAndGoesOnElsewhere) {
  open();
  Function spin = lease_.function(CLIENT_FUNCTIONS, "spin_ms").value_or_throw();
  std::uint32_t ms = 500;
  std::uint32_t done = 0;
  Call call = spin.async(&ms, 4, &done, 4);
  const std::size_t first = node_of_worker();
  managers_.node(first).signal(SIGTERM);
  ASSERT_TRUE(eventually([&] { return notices().size() == 1; }));
  EXPECT_TRUE(notices()[0].leaving);
  EXPECT_GT(notices()[0].left, 1s);
  EXPECT_NE(notices()[0].reason.find("given back"), std::string::npos) << notices()[0].reason;

  EXPECT_EQ(call.wait_for(20s).status, Status::kOk) << call.error();
  EXPECT_EQ(done, 500u);
  ms = 1;
  EXPECT_EQ(spin.call(&ms, 4, &done, 4).status, Status::kOk) << spin.last_error();
  EXPECT_NE(node_of_worker(), first);
  expect_clean_end(managers_.node(first));
  managers_.wait_for_nodes(1);
  EXPECT_EQ(lease_.workers(), 1u);
}

TEST_F(Drain, CountsWhatWasUsedOnNodesThatHaveLeft) {
  open();
  Function echo = lease_.function(CLIENT_FUNCTIONS, "echo").value_or_throw();
  char in = 1;
  char out = 0;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(echo.call(&in, 1, &out, 1).ok());
  ASSERT_TRUE(eventually([&] { return lease_.usage().value_or_throw().invocations == 10; }));
  managers_.node(node_of_worker()).signal(SIGTERM);
  ASSERT_TRUE(eventually([&] { return notices().size() == 1; }));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(echo.call(&in, 1, &out, 1).ok()) << echo.last_error();
  EXPECT_TRUE(eventually([&] { return lease_.usage().value_or_throw().invocations == 15; }));
}

TEST_F(Drain, TakesAnIdleLeaseBackLongBeforeItsTimeIsOver) {
  open({.replace = false});
  Function echo = lease_.function(CLIENT_FUNCTIONS, "echo").value_or_throw();
  char byte = 0;
  ASSERT_TRUE(echo.call(&byte, 1, &byte, 1).ok());
  const std::size_t node = node_of_worker();
  ASSERT_TRUE(drain(lease_.worker(0).node_name, 10min));
  expect_clean_end(managers_.node(node));
  EXPECT_EQ(echo.call(&byte, 1, &byte, 1).status, Status::kClosed);
  EXPECT_NE(echo.last_error().find("no worker is left"), std::string::npos) << echo.last_error();
}

/// What a client in a process of its own tells this one.
struct Report {
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> good{0};
  std::atomic<std::uint64_t> bad{0};
  std::array<char, 32> node{};
  std::array<char, 256> why{};
};

// The client's process stands still while its node leaves, and goes on calling before it can have
// heard of that: the executor says which calls it has not begun, and those run elsewhere.
TEST_F(Drain, LosesNoCallOfAClientThatHeardOfItTooLate) {
  const auto memory =
      base::SharedMemory::create("report", sizeof(Report), base::SharedMemory::Pages::kSmall)
          .value_or_throw();
  auto* const report = new (memory.data()) Report;
  const pid_t client = ::fork();
  if (client == 0) {
    try {
      open();
      Function echo = lease_.function(CLIENT_FUNCTIONS, "echo").value_or_throw();
      std::snprintf(report->node.data(), report->node.size(), "%s",
                    lease_.worker(0).node_name.c_str());
      for (char in = 0; !report->stop; ++in) {
        char out = 1;
        const bool good = echo.call(&in, 1, &out, 1).ok() && in == out;
        if (!good)
          std::snprintf(report->why.data(), report->why.size(), "%s", echo.last_error().c_str());
        ++(good ? report->good : report->bad);
      }
    } catch (const std::exception& error) {
      std::snprintf(report->why.data(), report->why.size(), "%s", error.what());
    }
    ::_exit(0);
  }
  const auto calls_more = [&] {
    const std::uint64_t before = report->good;
    return eventually([&] { return report->good > before + 100; });
  };
  EXPECT_TRUE(calls_more()) << report->why.data();
  ::kill(client, SIGSTOP);
  const std::string node(report->node.data());
  EXPECT_TRUE(drain(node, 1min));
  expect_clean_end(managers_.node(node == "n1" ? 0 : 1));
  ::kill(client, SIGCONT);
  EXPECT_TRUE(calls_more());
  EXPECT_EQ(report->bad, 0u) << report->why.data();
  report->stop = true;
  int status = 0;
  EXPECT_TRUE(eventually([&] { return ::waitpid(client, &status, WNOHANG) != 0; }));
}

TEST_F(Drain, EndsACallThatTakesTooLongAsLost) {
  open({.replace = false});
  Function spin = lease_.function(CLIENT_FUNCTIONS, "spin_ms").value_or_throw();
  const std::uint32_t ms = 60'000;
  std::uint32_t done = 0;
  Call call = spin.async(&ms, 4, &done, 4);
  const std::size_t node = node_of_worker();
  ASSERT_TRUE(drain(lease_.worker(0).node_name, 300ms));
  EXPECT_EQ(call.wait_for(20s).status, Status::kLost);
  EXPECT_NE(call.error().find("a test wants it back"), std::string::npos) << call.error();
  expect_clean_end(managers_.node(node));
}

TEST_F(Drain, RunsALostCallOfAnIdempotentFunctionElsewhere) {
  open();
  Function spin =
      lease_.function(CLIENT_FUNCTIONS, "spin_ms", {.idempotent = true}).value_or_throw();
  const std::uint32_t ms = 2000;
  std::uint32_t done = 0;
  Call call = spin.async(&ms, 4, &done, 4);
  ASSERT_TRUE(drain(lease_.worker(0).node_name, 200ms));
  EXPECT_EQ(call.wait_for(20s).status, Status::kOk) << call.error();
  EXPECT_EQ(done, ms);
}

TEST_F(Drain, EndsAtOnceOnASecondSignal) {
  open({.replace = false});
  Function spin = lease_.function(CLIENT_FUNCTIONS, "spin_ms").value_or_throw();
  const std::uint32_t ms = 60'000;
  std::uint32_t done = 0;
  Call call = spin.async(&ms, 4, &done, 4);
  const std::size_t node = node_of_worker();
  ASSERT_TRUE(drain(lease_.worker(0).node_name, 10min));
  ASSERT_TRUE(eventually([&] { return notices().size() == 1; }));
  managers_.node(node).signal(SIGTERM);
  expect_clean_end(managers_.node(node));
  EXPECT_EQ(call.wait_for(20s).status, Status::kLost);
}

TEST_F(Drain, GivesADrainingNodeNoNewLease) {
  open({.replace = false});
  Function spin = lease_.function(CLIENT_FUNCTIONS, "spin_ms").value_or_throw();
  const std::uint32_t ms = 60'000;
  std::uint32_t done = 0;
  Call call = spin.async(&ms, 4, &done, 4);
  ASSERT_TRUE(drain(lease_.worker(0).node_name, 10min));
  const auto refused = session_.lease({.cores = 2});
  ASSERT_FALSE(refused);
  EXPECT_NE(std::string(refused.error().what()).find("1 node is draining"), std::string::npos)
      << refused.error().what();
  auto other = session_.lease();
  ASSERT_TRUE(other) << other.error().what();
  EXPECT_NE(other->worker(0).node_name, lease_.worker(0).node_name);
  lease_.release();  // or the end of `call` would be waited for
}

TEST_F(Drain, SaysWhichNodesThereAre) {
  const auto drained = drain("n3", 1s);
  ASSERT_FALSE(drained);
  EXPECT_STREQ(drained.error().what(), "no node is named 'n3'; there are: n1, n2");
}

TEST_F(Drain, TellsWhenNoOtherNodeHasCoresAndUsesThemOnceTheyAre) {
  auto taken = Session::open(managers_.session_options("other")).value_or_throw();
  open({.worker_wait = 200ms});
  auto rest = taken.lease();
  ASSERT_TRUE(rest) << rest.error().what();
  Function echo = lease_.function(CLIENT_FUNCTIONS, "echo").value_or_throw();
  const std::size_t node = node_of_worker();
  managers_.node(node).signal(SIGTERM);
  expect_clean_end(managers_.node(node));
  char byte = 7;
  char out = 0;
  const Reply none = echo.call(&byte, 1, &out, 1);
  EXPECT_EQ(none.status, Status::kClosed);
  EXPECT_NE(echo.last_error().find("no worker came up"), std::string::npos) << echo.last_error();
  rest->release();
  EXPECT_TRUE(eventually([&] { return echo.call(&byte, 1, &out, 1).ok(); }));
  EXPECT_EQ(out, 7);
}

TEST_F(Drain, ReplacesWorkersOfANodeThatDies) {
  open();
  Function echo = lease_.function(CLIENT_FUNCTIONS, "echo").value_or_throw();
  const std::size_t node = node_of_worker();
  managers_.node(node).signal(SIGKILL);
  char byte = 7;
  char out = 0;
  EXPECT_TRUE(
      eventually([&] { return echo.call(&byte, 1, &out, 1).ok() && node_of_worker() != node; }));
  EXPECT_EQ(out, 7);
  const auto before = lease_.expires_at();
  ASSERT_TRUE(lease_.extend(2h));
  EXPECT_GE(lease_.expires_at(), before + 1h) << "it was asked for with an hour";
}

// The nodes leave and return one after the other, again and again, while two workers are always
// wanted and many calls are under way.
TEST_F(Drain, LosesAndInventsNothingWhileNodesComeAndGo) {
  open({.cores = 2});
  struct Pair {
    double a, b;
  };
  Function multiply = lease_.function(CLIENT_FUNCTIONS, "multiply").value_or_throw();
  std::uint64_t right = 0;
  std::uint64_t lost = 0;
  std::uint64_t none = 0;
  const auto work = [&] {
    constexpr std::size_t kCalls = 24;
    std::array<Pair, kCalls> in{};
    std::array<double, kCalls> out{};
    std::vector<Call> calls;
    for (std::size_t i = 0; i < kCalls; ++i) {
      in[i] = {static_cast<double>(right + i), 3.0};
      calls.push_back(multiply.async(&in[i], sizeof(Pair), &out[i], sizeof(double)));
    }
    for (std::size_t i = 0; i < kCalls; ++i) {
      const Reply reply = calls[i].wait_for(30s);
      if (reply.ok()) {
        EXPECT_EQ(out[i], in[i].a * 3.0);
        ++right;
      } else if (reply.status == Status::kLost) {
        ++lost;
      } else {
        EXPECT_EQ(reply.status, Status::kClosed) << calls[i].error();
        ++none;
      }
    }
  };
  for (int round = 0; round < 8; ++round) {
    const std::size_t index = static_cast<std::size_t>(round) % 2;
    managers_.node(index).signal(SIGTERM);
    while (!managers_.node(index).wait(1ms)) work();
    managers_.restart_node(index);
    const std::uint64_t before = right;
    // Both nodes there, and the lease has all their cores again: nothing changes after that.
    const auto settled = [&] {
      work();
      const auto nodes = managers_.nodes();
      return right >= before + 100 && nodes.size() == 2 &&
             std::all_of(nodes.begin(), nodes.end(), [](const NodeInfo& node) {
               return node.state == "up" && node.free_cores == 0;
             });
    };
    ASSERT_TRUE(eventually(settled, 20s))
        << "round " << round << ", " << right - before << " right";
  }
  EXPECT_EQ(lost, 0u) << "of " << right;
  lease_.release();
  managers_.wait_for_free_cores(2);
  EXPECT_TRUE(managers_.leases().empty());
}

}  // namespace
}  // namespace sublet
