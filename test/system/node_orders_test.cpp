// What operators order with the command, while clients use the nodes: to leave and to say what
// became of it, to stay after all, to end a lease, to be forgotten.

#include "command_fixture.hpp"
#include "manager_client.hpp"
#include "support/managers.hpp"
#include <common/manager_query.hpp>
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <future>
#include <mutex>
#include <string>
#include <vector>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

TestNode one_worker(const std::string& name) {
  TestNode node;
  node.name = name;
  node.oversubscribe = 1;
  node.more = {"--drain-time", "10min"};  // by a signal
  return node;
}

class NodeOrders : public CommandTest {
 protected:
  void open(const LeaseRequest& request = {}) {
    SessionOptions options = managers_.session_options("client");
    options.transport = "tcp";  // so that the nodes are others than the client's
    session_ = Session::open(options).value_or_throw();
    lease_ = session_.lease(request).value_or_throw();
    lease_.on_ending([this](const EndingNotice&) {
      const std::lock_guard lock(mutex_);
      ++notices_;
    });
    lease_.on_lost([this](const std::string& reason) {
      const std::lock_guard lock(mutex_);
      lost_.push_back(reason);
    });
    spin_ = lease_.function(CLIENT_FUNCTIONS, "spin_ms").value_or_throw();
    node_ = lease_.worker(0).node_name;
  }
  Call spin(std::uint32_t ms) {
    ms_ = ms;
    return spin_.async(&ms_, 4, &done_, 4);
  }
  bool call_works() {
    std::uint32_t ms = 1;
    std::uint32_t done = 0;
    return spin_.call(&ms, 4, &done, 4).ok() && done == 1;
  }
  int notices() {
    const std::lock_guard lock(mutex_);
    return notices_;
  }
  std::vector<std::string> lost() {
    const std::lock_guard lock(mutex_);
    return lost_;
  }
  [[nodiscard]] std::size_t index_of_node() const { return node_ == "n1" ? 0 : 1; }
  ChildProcess& manager_of_node() { return managers_.node(index_of_node()); }
  Ended sublet(const std::vector<std::string>& words) {
    return run(words, managers_.environment());
  }
  /// While this thread goes on.
  std::future<Ended> sublet_meanwhile(const std::vector<std::string>& words) {
    return std::async(std::launch::async, [this, words] { return sublet(words); });
  }
  std::string state_of(const std::string& name) {
    for (const NodeInfo& node : managers_.nodes()) {
      if (node.name == name) return node.state;
    }
    return "gone";
  }
  bool becomes(const std::string& name, const std::string& state) {
    return eventually([&] { return state_of(name) == state; });
  }
  static json parsed(const Ended& ended) {
    auto value = json::parse(ended.output, nullptr, false);
    EXPECT_TRUE(value.is_object()) << ended.output;
    return value;
  }

  TestManagers managers_{{one_worker("n1"), one_worker("n2")}, true};
  Session session_;
  Lease lease_;
  Function spin_;
  std::string node_;
  std::uint32_t ms_ = 0;
  std::uint32_t done_ = 0;
  std::mutex mutex_;
  int notices_ = 0;
  std::vector<std::string> lost_;
};

// ---- drain ----

TEST_F(NodeOrders, DrainWaitsUntilTheNodeHasLeftAndCountsItsCalls) {
  open({.replace = false});
  Call call = spin(500);
  const Ended drained = sublet({"drain", node_, "--time", "1min", "--output", "json"});
  EXPECT_EQ(drained.code, 0) << drained.output;
  EXPECT_EQ(state_of(node_), "gone");
  const json said = parsed(drained);
  EXPECT_EQ(said["result"], "drained");
  ASSERT_EQ(said["drained"].size(), 1u) << drained.output;
  EXPECT_EQ(said["drained"][0]["end"], "left");
  EXPECT_EQ(said["drained"][0]["leases"],
            (json{{"in_order", 1}, {"cut_off", 0}, {"broken", 0}, {"unclaimed", 0}}));
  EXPECT_EQ(said["drained"][0]["calls"], (json{{"finished", 1}, {"cut_off", 0}, {"unknown", 0}}));
  EXPECT_EQ(call.wait_for(20s).status, Status::kOk) << call.error();
}

TEST_F(NodeOrders, DrainTellsWhatItCutOff) {
  open({.replace = false});
  Call call = spin(600'000);
  const Ended drained = sublet({"drain", node_, "--time", "300ms"});
  EXPECT_EQ(drained.code, 0);
  expect_contains(drained.output, "node " + node_ + " has left");
  expect_contains(drained.output, "leases  1 cut off when the time was over");
  expect_contains(drained.output, "calls   1 cut off when the time was over");
  EXPECT_EQ(call.wait_for(20s).status, Status::kLost);
}

// An executor that does not answer is killed, and takes what it knew with it.
TEST_F(NodeOrders, DrainTellsWhatItCannotKnow) {
  open({.replace = false});
  Call call = spin(600'000);
  const auto executors = managers_.executors();
  ASSERT_EQ(executors.size(), 1u);
  ::kill(executors[0], SIGSTOP);
  const Ended drained = sublet({"drain", node_, "--time", "200ms", "--output", "json"});
  EXPECT_EQ(drained.code, 0) << drained.output;
  const json said = parsed(drained)["drained"][0];
  EXPECT_EQ(said["leases"]["cut_off"], 1) << drained.output;
  EXPECT_EQ(said["calls"], (json{{"finished", 0}, {"cut_off", 0}, {"unknown", 1}}));
  EXPECT_EQ(call.wait_for(20s).status, Status::kLost);
}

TEST_F(NodeOrders, DrainCountsLeasesThatNobodyHasClaimedAndExecutorsThatDie) {
  ManagerClient client(managers_.address());
  const auto unclaimed = client.lease(1).value_or_throw();
  const std::string its_node = unclaimed.grants.at(0).node_name;
  const Ended first = sublet({"drain", its_node, "--output", "json"});
  EXPECT_EQ(first.code, 0) << first.output;
  EXPECT_EQ(parsed(first)["drained"][0]["leases"],
            (json{{"in_order", 0}, {"cut_off", 0}, {"broken", 0}, {"unclaimed", 1}}));
  open({.replace = false});
  Call call = spin(600'000);
  auto second = sublet_meanwhile({"drain", node_, "--time", "10min"});
  ASSERT_TRUE(eventually([&] { return notices() == 1; }));
  for (const pid_t executor : managers_.executors()) ::kill(executor, SIGKILL);
  const Ended ended = second.get();
  EXPECT_EQ(ended.code, 0);
  expect_contains(ended.output, "leases  1 whose executor died or was killed");
}

TEST_F(NodeOrders, DrainOfAnEmptyNodeSaysThatThereWasNothing) {
  const Ended drained = sublet({"drain", "n1"});
  EXPECT_EQ(drained.code, 0);
  expect_contains(drained.output, "leases  none");
  expect_contains(drained.output, "calls   none");
  EXPECT_EQ(state_of("n1"), "gone");
}

TEST_F(NodeOrders, DrainNeedNotWait) {
  open({.replace = false});
  Call call = spin(600'000);
  const Ended told = sublet({"drain", node_, "--time", "10min", "--no-wait"});
  EXPECT_EQ(told.code, 0);
  expect_contains(told.output, "its leases end within 600000 ms");
  EXPECT_EQ(state_of(node_), "draining");
  lease_.release();
}

TEST_F(NodeOrders, DrainTellsThatTheNodeDiedMeanwhile) {
  open({.replace = false});
  Call call = spin(600'000);
  auto drained = sublet_meanwhile({"drain", node_, "--time", "10min"});
  ASSERT_TRUE(eventually([&] { return notices() == 1; }));
  manager_of_node().signal(SIGKILL);
  const Ended ended = drained.get();
  EXPECT_EQ(ended.code, 5);
  expect_contains(ended.output, "node " + node_ + " was lost while it drained");
  expect_contains(ended.output, "leases  1 lost");
}

TEST_F(NodeOrders, DrainTellsThatTheResourceManagerWentAwayMeanwhile) {
  open({.replace = false});
  Call call = spin(600'000);
  auto drained = sublet_meanwhile({"drain", node_, "--time", "10min"});
  ASSERT_TRUE(becomes(node_, "draining"));
  managers_.resource_manager().signal(SIGKILL);
  const Ended ended = drained.get();
  EXPECT_EQ(ended.code, 3);
  expect_contains(ended.output, "what became of node " + node_ + " is not known");
  lease_.release();
}

TEST_F(NodeOrders, DrainRefusesNodesAndOptionsThatAreNone) {
  const auto refused = [this](const std::vector<std::string>& words, int code,
                              const std::string& part) {
    const Ended ended = sublet(words);
    EXPECT_EQ(ended.code, code) << ended.output;
    expect_contains(ended.output, part);
  };
  refused({"drain", "n3"}, 2, "no node is named 'n3'; there are: n1, n2");
  refused({"drain", "n1", "--time", "soon"}, 2, "--time: ");
  refused({"drain", "n1", "--output", "xml"}, 2, "--output is 'xml'");
  refused({"drain", "n1", "--cancel", "--time", "5s"}, 2, "--time has no meaning with --cancel");
  refused({"drain", "n1", "--cancel", "--no-wait"}, 2, "--no-wait has no meaning with --cancel");
  refused({"drain", "n3", "--cancel"}, 2, "no node is named 'n3'");
  managers_.node(0).signal(SIGKILL);
  ASSERT_TRUE(becomes("n1", "lost"));
  refused({"drain", "n1"}, 3, "node n1 is lost");
  refused({"drain", "n1", "--cancel"}, 3, "node n1 is lost");
}

// ---- drain --cancel ----

TEST_F(NodeOrders, ADrainThatIsCancelledEndsNothing) {
  open({.replace = false});
  Call call = spin(5000);
  auto drained = sublet_meanwhile({"drain", node_, "--time", "10min", "--output", "json"});
  ASSERT_TRUE(eventually([&] { return notices() == 1; }));
  const Ended cancelled = sublet({"drain", node_, "--cancel"});
  EXPECT_EQ(cancelled.code, 0) << cancelled.output;
  expect_contains(cancelled.output, "node " + node_ + " stays");
  EXPECT_EQ(state_of(node_), "up");
  const Ended ended = drained.get();
  EXPECT_EQ(ended.code, 5);
  EXPECT_EQ(parsed(ended)["drained"][0]["end"], "cancelled");
  EXPECT_EQ(call.wait_for(20s).status, Status::kOk) << call.error();
  EXPECT_TRUE(call_works()) << spin_.last_error();
  EXPECT_TRUE(lost().empty());
  EXPECT_EQ(managers_.leases().size(), 1u);
  lease_.release();
  managers_.wait_for_free_cores(2);
  auto again = session_.lease({.cores = 2});
  EXPECT_TRUE(again) << again.error().what();
}

TEST_F(NodeOrders, NoCallIsLostByDrainsThatAreTakenBack) {
  open({.cores = 2});
  std::uint64_t good = 0;
  std::uint64_t bad = 0;
  const auto work = [&] {
    ++(call_works() ? good : bad);
    if (bad == 1 && good > 0) ADD_FAILURE() << spin_.last_error();
  };
  for (int round = 0; round < 12; ++round) {
    const std::string name = round % 2 == 0 ? "n1" : "n2";
    ASSERT_TRUE(manager::order_drain(managers_.address(), name, 1min, "a test", 30s));
    for (int i = 0; i < round * 3; ++i) work();
    const auto cancelled = manager::cancel_drain(managers_.address(), name, 30s);
    if (!cancelled) {  // it has left already
      const std::size_t index = round % 2 == 0 ? 0 : 1;
      ASSERT_TRUE(managers_.node(index).wait(20s)) << cancelled.error().what();
      managers_.restart_node(index);
    }
    const std::uint64_t before = good;
    ASSERT_TRUE(eventually([&] {
      work();
      const auto nodes = managers_.nodes();
      return good > before + 20 && nodes.size() == 2 &&
             std::all_of(nodes.begin(), nodes.end(), [](const NodeInfo& node) {
               return node.state == "up" && node.free_cores == 0;
             });
    })) << "round "
        << round;
  }
  EXPECT_EQ(bad, 0u) << "of " << good;
}

// Of two workers of one node one is idle when the client hears that the node leaves: it closes the
// channel to it. When it hears that the node stays it connects again.
TEST(NodeOrdersOfTwoWorkers, AWorkerThatWasGivenUpMeanwhileIsUsedAgain) {
  TestNode node;
  node.oversubscribe = 2;
  TestManagers managers({node});
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto lease = session.lease({.cores = 2, .replace = false}).value_or_throw();
  Function spin = lease.function(CLIENT_FUNCTIONS, "spin_ms").value_or_throw();
  std::uint32_t long_ms = 600'000;
  std::uint32_t long_done = 0;
  Call under_way;
  ASSERT_EQ(spin.try_async(0, &long_ms, 4, &long_done, 4, under_way), Status::kOk);
  const auto calls_worker_1 = [&] {
    std::uint32_t ms = 1;
    std::uint32_t done = 0;
    Call call;
    const Status status = spin.try_async(1, &ms, 4, &done, 4, call);
    return status == Status::kOk ? call.wait_for(20s).status : status;
  };
  ASSERT_TRUE(eventually([&] { return calls_worker_1() == Status::kOk; }));
  ASSERT_TRUE(manager::order_drain(managers.address(), "n1", 10min, "a test", 30s));
  ASSERT_TRUE(eventually([&] {
    (void)under_way.wait_for(1ms);
    return calls_worker_1() == Status::kClosed;
  }));
  const auto cancelled = manager::cancel_drain(managers.address(), "n1", 30s);
  ASSERT_TRUE(cancelled) << cancelled.error().what();
  EXPECT_TRUE(eventually([&] {
    (void)under_way.wait_for(1ms);
    return calls_worker_1() == Status::kOk;
  })) << spin.last_error();
  EXPECT_EQ(managers.leases().size(), 1u);
  lease.release();
}

TEST_F(NodeOrders, CancelRefusesWhatCannotBeTakenBack) {
  const Ended up = sublet({"drain", "n1", "--cancel"});
  EXPECT_EQ(up.code, 2);
  expect_contains(up.output, "it does not drain");
  open({.replace = false});
  Call call = spin(600'000);
  manager_of_node().signal(SIGTERM);
  ASSERT_TRUE(becomes(node_, "draining"));
  const Ended signalled = sublet({"drain", node_, "--cancel"});
  EXPECT_EQ(signalled.code, 2);
  expect_contains(signalled.output, "because of a signal");
  EXPECT_EQ(state_of(node_), "draining");
  lease_.release();
}

// ---- release ----

TEST_F(NodeOrders, ReleaseEndsALeaseAndTellsItsClientWhoDid) {
  open({.replace = false});
  Call call = spin(600'000);
  const std::string lease = std::to_string(managers_.leases().at(0).id);
  const Ended released = sublet({"release", lease, "--reason", "we need the cores"});
  EXPECT_EQ(released.code, 0) << released.output;
  expect_contains(released.output, "lease " + lease + " has ended");
  EXPECT_EQ(managers_.free_cores(), 2u) << "they are free when it returns";
  EXPECT_EQ(call.wait_for(20s).status, Status::kLost);
  ASSERT_TRUE(eventually([&] { return lost().size() == 1; }));
  EXPECT_NE(lost()[0].find("ended by "), std::string::npos) << lost()[0];
  EXPECT_NE(lost()[0].find(": we need the cores"), std::string::npos) << lost()[0];

  const Ended again = sublet({"release", lease});
  EXPECT_EQ(again.code, 2);
  expect_contains(again.output, "lease " + lease + " has ended already");
}

TEST_F(NodeOrders, ReleaseRefusesWhatIsNoLease) {
  const Ended unknown = sublet({"release", "17"});
  EXPECT_EQ(unknown.code, 2);
  expect_contains(unknown.output, "no lease has the number 17");
  for (const char* const wrong : {"seventeen", "-1", "17x", "99999999999999999999"}) {
    const Ended ended = sublet({"release", wrong});
    EXPECT_EQ(ended.code, 2) << wrong;
    expect_contains(ended.output, std::string(wrong) == "-1" ? "-1" : "it must be a number");
  }
  EXPECT_EQ(sublet({"release"}).code, 2);
}

// Until its node is lost or says so, its cores may be in use.
TEST_F(NodeOrders, ReleaseSaysWhichNodesHaveNotEndedIt) {
  open({.replace = false});
  manager_of_node().signal(SIGSTOP);
  const Ended released = sublet({"release", std::to_string(managers_.leases().at(0).id)});
  EXPECT_EQ(released.code, 3) << released.output;
  expect_contains(released.output, "not all of its nodes have said so");
  expect_contains(released.output, "node " + node_ + ": ");
  manager_of_node().signal(SIGCONT);
  managers_.wait_for_free_cores(2);
}

// ---- forget ----

TEST_F(NodeOrders, ForgetRemovesALostNodeWithItsLeases) {
  open({.replace = false});
  const Ended up = sublet({"forget", node_});
  EXPECT_EQ(up.code, 2);
  expect_contains(up.output, "`sublet drain " + node_ + "`");
  manager_of_node().signal(SIGKILL);
  ASSERT_TRUE(becomes(node_, "lost"));
  const Ended forgotten = sublet({"forget", node_});
  EXPECT_EQ(forgotten.code, 0) << forgotten.output;
  expect_contains(forgotten.output, "forgot 1 lost node named " + node_);
  EXPECT_EQ(state_of(node_), "gone");
  EXPECT_TRUE(managers_.leases().empty());
  const Ended again = sublet({"forget", node_});
  EXPECT_EQ(again.code, 2);
  expect_contains(again.output, "no node is named '" + node_ + "'");
  managers_.restart_node(index_of_node());
  EXPECT_TRUE(becomes(node_, "up"));
}

TEST_F(NodeOrders, AForgottenNodeThatComesBackHasItsLeases) {
  open({.replace = false});
  manager_of_node().signal(SIGSTOP);
  ASSERT_TRUE(becomes(node_, "lost"));
  EXPECT_EQ(sublet({"forget", node_}).code, 0);
  manager_of_node().signal(SIGCONT);
  ASSERT_TRUE(becomes(node_, "up"));
  EXPECT_EQ(managers_.leases().size(), 1u);
  EXPECT_TRUE(call_works()) << spin_.last_error();
}

}  // namespace
}  // namespace sublet::test
