// Processes that are stopped for a while, as those of a suspended job are: it costs time, no call.

#include "support/managers.hpp"
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <string>
#include <vector>

namespace sublet {
namespace {

using namespace std::chrono_literals;
using test::ChildProcess;
using test::eventually;
using test::TestManagers;
using test::TestNode;

/// How long they are stopped: longer than the managers' and clients' own limits, which are 5 s.
constexpr auto kStopped = 6s;

void let_pass(std::chrono::milliseconds time) {
  (void)eventually([] { return false; }, time);
}

void signal_all(const std::vector<pid_t>& pids, int number) {
  for (const pid_t pid : pids) ::kill(pid, number);
}

class Stop : public ::testing::Test {
 protected:
  TestManagers managers_;
  Session session_ = Session::open(managers_.session_options()).value_or_throw();
  Lease lease_ = session_.lease({.cores = 2, .replace = false}).value_or_throw();
};

TEST_F(Stop, OfAnExecutorIsNoTimeOfItsFunctions) {
  auto spin = lease_.function(CLIENT_FUNCTIONS, "spin_ms", {.timeout = 1500ms}).value_or_throw();
  const std::uint32_t ms = 400;
  std::uint32_t done = 0;
  Call call = spin.async(&ms, sizeof(ms), &done, sizeof(done));
  const std::vector<pid_t> executors = managers_.executors();
  ASSERT_EQ(executors.size(), 1u);
  let_pass(100ms);
  signal_all(executors, SIGSTOP);
  let_pass(2500ms);
  signal_all(executors, SIGCONT);
  EXPECT_EQ(call.wait().status, Status::kOk) << call.error();
  // And that was no end of timeouts.
  const std::uint32_t too_long = 60'000;
  EXPECT_EQ(spin.call(&too_long, sizeof(too_long), &done, sizeof(done)).status, Status::kTimedOut);
}

TEST_F(Stop, OfAllProcessesLosesNoCall) {
  auto spin = lease_.function(CLIENT_FUNCTIONS, "spin_ms", {.timeout = 2s}).value_or_throw();
  // A client of its own, and one with a private manager: each asks for leases again and again.
  ChildProcess::Options options;
  options.environment = managers_.environment();
  options.output = managers_.directory() + "/program.log";
  ChildProcess client({ENDING_PROGRAM, "work"}, options);
  options.environment[0] = "SUBLET_MANAGER";  // unset
  ChildProcess alone({ENDING_PROGRAM, "work"}, options);

  const std::uint32_t ms = 300;
  std::vector<std::uint32_t> done(8);
  std::vector<Call> calls;
  calls.reserve(done.size());
  for (auto& out : done) calls.push_back(spin.async(&ms, sizeof(ms), &out, sizeof(out)));
  ASSERT_TRUE(eventually([&] { return managers_.executors().size() >= 3; }, 20s));
  std::vector<pid_t> all = managers_.processes();
  all.push_back(client.pid());
  all.push_back(alone.pid());
  signal_all(all, SIGSTOP);
  let_pass(kStopped);
  signal_all(all, SIGCONT);
  for (Call& call : calls) EXPECT_EQ(call.wait().status, Status::kOk) << call.error();
  for (ChildProcess* program : {&client, &alone}) {
    const auto status = program->wait(60s);
    ASSERT_TRUE(status);
    EXPECT_TRUE(WIFEXITED(*status) && WEXITSTATUS(*status) == 3) << *status;
  }
  const auto leased = [&] { return session_.lease({.cores = 1}).has_value(); };
  EXPECT_TRUE(eventually(leased, 20s));
}

}  // namespace
}  // namespace sublet
