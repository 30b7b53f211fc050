// Leases from executor managers without a resource manager, and beside one.

#include "support/managers.hpp"
#include <sublet/session.hpp>

#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;

struct Factors {
  double a;
  double b;
};

/// Executor managers that register with nobody, each a process of its own.
class DirectNodes : public testing::Test {
 protected:
  ~DirectNodes() override {
    nodes_.clear();
    if (!HasFailure()) return;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      if (entry.path().extension() != ".log") continue;
      std::cerr << "---- " << entry.path() << "\n" << std::ifstream(entry.path()).rdbuf();
    }
  }

  /// Nodes n1 and n2, in this order; their addresses.
  std::string start_both() {
    const std::string first = start("n1", 2);
    return first + "," + start("n2", 2);
  }
  /// Its address.
  std::string start(const std::string& name, std::uint32_t workers = 4,
                    const std::vector<std::string>& more = {"--skip-resource-manager"}) {
    const std::string file = directory_ + "/address-" + name;
    std::vector<std::string> words = {built_program("sublet"),
                                      "executor-manager",
                                      "--listen",
                                      "tcp:127.0.0.1:0",
                                      "--address-file",
                                      file,
                                      "--node-name",
                                      name,
                                      "--cores",
                                      "1",
                                      "--oversubscribe",
                                      std::to_string(workers),
                                      "--memory",
                                      "1GiB"};
    words.insert(words.end(), more.begin(), more.end());
    nodes_.emplace_back(words,
                        ChildProcess::Options{{"SUBLET_MANAGER", "XDG_RUNTIME_DIR=" + directory_,
                                               "SUBLET_LOG=info", "XDG_CONFIG_HOME=" + directory_},
                                              directory_ + "/" + name + ".log",
                                              {}});
    if (!eventually([&] { return std::filesystem::exists(file); }, 30s)) {
      throw std::runtime_error("executor manager " + name + " does not start");
    }
    std::string address;
    std::ifstream(file) >> address;
    return address;
  }

  static SessionOptions options(const std::string& executors) {
    SessionOptions options;
    options.executors = executors;
    options.node_name = "elsewhere";
    options.timeout = 30s;
    return options;
  }
  static LeaseRequest small(std::uint32_t cores, std::uint32_t parts = 1) {
    LeaseRequest request{.cores = cores, .parts = parts};
    request.memory_bytes = 64u << 20;
    request.arena_bytes = 1u << 20;
    return request;
  }
  static std::uint32_t free_cores(Session& session) {
    std::uint32_t free = 0;
    for (const NodeInfo& node : session.nodes().value_or_throw()) free += node.free_cores;
    return free;
  }
  static void expect_works(Lease& lease) {
    auto multiply = lease.function<double(Factors)>(CLIENT_FUNCTIONS, "multiply").value_or_throw();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(multiply(Factors{1.0 * i, 2}).value_or_throw(), 2.0 * i);
  }
  static void expect_error(const Result<Lease>& lease, ErrorKind kind, const std::string& text) {
    ASSERT_FALSE(lease);
    EXPECT_EQ(lease.error().kind(), kind) << lease.error().what();
    EXPECT_NE(std::string(lease.error().what()).find(text), std::string::npos)
        << lease.error().what();
  }
  static void expect_no_session(const SessionOptions& options, ErrorKind kind,
                                const std::string& text) {
    const auto session = Session::open(options);
    ASSERT_FALSE(session);
    EXPECT_EQ(session.error().kind(), kind) << session.error().what();
    EXPECT_NE(std::string(session.error().what()).find(text), std::string::npos)
        << session.error().what();
  }

  const TempDirectory temporary_;
  const std::string& directory_ = temporary_.path();
  std::vector<ChildProcess> nodes_;
};

TEST_F(DirectNodes, LeaseTheirCoresAndTakeThemBack) {
  auto session = Session::open(options(start("n1"))).value_or_throw();
  EXPECT_EQ(free_cores(session), 4u);
  {
    auto lease = session.lease(small(3)).value_or_throw();
    EXPECT_EQ(lease.workers(), 3u);
    EXPECT_EQ(lease.worker(0).node_name, "n1");
    EXPECT_EQ(free_cores(session), 1u);
    expect_works(lease);
    const auto before = lease.expires_at();
    ASSERT_TRUE(lease.extend(2h));
    EXPECT_GT(lease.expires_at(), before);
    EXPECT_GT(lease.usage().value_or_throw().invocations, 0u);
  }
  EXPECT_TRUE(eventually([&] { return free_cores(session) == 4; }, 30s));
  EXPECT_EQ(session.leases().error().kind(), ErrorKind::kUnsupported);
  EXPECT_FALSE(session.manager_is_private());
}

TEST_F(DirectNodes, AreReadFromAListInTheSeedsForm) {
  const std::string first = start("n1", 2);
  const std::string second = start("n2", 4);
  const auto port = [](const std::string& address) {
    return address.substr(address.rfind(':') + 1);
  };
  const std::string file = directory_ + "/executors_database.json";
  std::ofstream(file) << R"({"executors":[{"port":)" << port(first)
                      << R"(,"cores":1,"address":"127.0.0.1"},{"port":)" << port(second)
                      << R"(,"cores":4,"address":"127.0.0.1"}]})";
  auto session = Session::open(options(file)).value_or_throw();
  // Of the first one no more than the file says.
  expect_error(session.lease(small(6)), ErrorKind::kOverloaded,
               "asked for 6 cores in 1 parts; free are 5 cores on 2 of the 2 executor managers");
  auto lease = session.lease(small(5)).value_or_throw();
  std::size_t on_first = 0;
  for (std::size_t i = 0; i < lease.workers(); ++i) on_first += lease.worker(i).node_name == "n1";
  EXPECT_EQ(on_first, 1u);
  expect_works(lease);
}

TEST_F(DirectNodes, GivePartsToThoseWhoAreNamed) {
  const std::string both = start_both();
  auto asks = Session::open(options(both)).value_or_throw();
  auto claims = Session::open_detached(options(both)).value_or_throw();
  LeaseRequest request = small(1, 4);
  request.holders = {asks.holder_key(), claims.holder_key(), claims.holder_key(),
                     asks.holder_key()};
  const auto grants = asks.request(request).value_or_throw();
  ASSERT_EQ(grants.size(), 4u);
  for (const Grant& grant : grants) {
    Session& holder = grant.part == 1 || grant.part == 2 ? claims : asks;
    Session& other = grant.part == 1 || grant.part == 2 ? asks : claims;
    if (grant.part == 3) continue;
    expect_error(other.claim({grant}, small(1)), ErrorKind::kDenied, "holder of another key");
    auto lease = holder.claim({grant}, small(1));
    ASSERT_TRUE(lease) << lease.error().what();
    expect_works(*lease);
  }
  asks.give_back(grants);
  EXPECT_TRUE(eventually([&] { return free_cores(asks) == 4; }, 30s));
}

TEST_F(DirectNodes, AreTakenOverWhenOneDies) {
  const std::string both = start_both();
  auto session = Session::open(options(both)).value_or_throw();
  auto lease = session.lease(small(2)).value_or_throw();
  expect_works(lease);
  const bool first = lease.worker(0).node_name == "n1";
  nodes_[first ? 0 : 1].signal(SIGKILL);
  EXPECT_TRUE(eventually(
      [&] {
        lease.progress();
        return lease.workers() == 2 && lease.worker(0).node_name == (first ? "n2" : "n1");
      },
      30s));
  expect_works(lease);
  EXPECT_EQ(session.nodes().value_or_throw().size(), 1u) << "the other one";
}

TEST_F(DirectNodes, SayWhatIsWrongWithTheList) {
  expect_no_session(
      options("tcp:127.0.0.1:1"), ErrorKind::kDisconnected,
      "none of the 1 executor managers that SUBLET_EXECUTORS names can be leased from");
  expect_no_session(options("tcp:nowhere"), ErrorKind::kInvalid, "names 'tcp:nowhere'");
  expect_no_session(options(directory_ + "/missing.json"), ErrorKind::kInvalid,
                    "No such file or directory");
  const auto file = [&](const std::string& content) {
    const std::string path = directory_ + "/list.json";
    std::ofstream(path) << content;
    return options(path);
  };
  const std::pair<const char*, const char*> lists[] = {
      {"executors", "it is no JSON"},
      {"[]", "it has no list 'executors'"},
      {R"({"executors":[]})", "it lists no executor"},
      {R"({"executors":[7]})", "executor 1 is no object"},
      {R"({"executors":[{"port":1}]})", "executor 1 has no address"},
      {R"({"executors":[{"address":"a","port":1},{"address":"a"}]})", "executor 2 has no port"},
      {R"({"executors":[{"address":"a","port":70000}]})", "has no port from 1 to 65535"},
      {R"({"executors":[{"address":"a","port":1,"cores":0}]})", "has a number of cores"},
  };
  for (const auto& [content, what] : lists) {
    expect_no_session(file(content), ErrorKind::kInvalid, what);
  }
  SessionOptions both = options("tcp:127.0.0.1:1");
  both.manager = "tcp:127.0.0.1:2";
  expect_no_session(both, ErrorKind::kInvalid, "leave one out");
}

TEST_F(DirectNodes, AreLeftOutWhenTheyDoNotAnswer) {
  const std::string alive = start("n1", 2);
  auto session = Session::open(options("tcp:127.0.0.1:1," + alive)).value_or_throw();
  auto lease = session.lease(small(2)).value_or_throw();
  expect_works(lease);
  expect_error(session.lease(small(1)), ErrorKind::kOverloaded,
               "free are 0 cores on 1 of the 2 executor managers that SUBLET_EXECUTORS names; "
               "nothing answers at tcp:127.0.0.1:1");
}

/// A node that leases by itself, and through a resource manager.
class SharedNode : public DirectNodes {
 protected:
  explicit SharedNode(bool direct = true) {
    TestNode node;
    node.more = {"--listen", "tcp:127.0.0.1:0", "--address-file", directory_ + "/address"};
    if (direct) node.more.emplace_back("--direct");
    managers_ = std::make_unique<TestManagers>(std::vector<TestNode>{node}, true);
    std::string address;
    std::ifstream(directory_ + "/address") >> address;
    direct_ = options(address);
  }

  std::unique_ptr<TestManagers> managers_;
  SessionOptions direct_;
};

TEST_F(SharedNode, GivesNoCoreTwice) {
  auto with = Session::open(managers_->session_options()).value_or_throw();
  auto without = Session::open(direct_).value_or_throw();
  auto first = with.lease(small(2)).value_or_throw();
  EXPECT_EQ(free_cores(without), 2u);
  expect_error(without.lease(small(3)), ErrorKind::kOverloaded, "free are 2 cores");
  auto second = without.lease(small(2)).value_or_throw();
  expect_works(first);
  expect_works(second);
  expect_error(without.lease(small(1)), ErrorKind::kOverloaded, "free are 0 cores");
  // The resource manager hears of it with the next heartbeat.
  managers_->wait_for_free_cores(0);
  expect_error(with.lease(small(1)), ErrorKind::kOverloaded, "");
  EXPECT_EQ(managers_->leases().size(), 1u) << "it knows nothing of the other";
  second.release();
  managers_->wait_for_free_cores(2);
  auto third = with.lease(small(2)).value_or_throw();
  expect_works(third);
}

TEST_F(SharedNode, KeepsItsOwnLeasesWhenTheResourceManagerComesBack) {
  auto without = Session::open(direct_).value_or_throw();
  auto own = without.lease(small(3)).value_or_throw();
  managers_->start_resource_manager();
  managers_->wait_for_nodes(1);
  managers_->wait_for_free_cores(1);
  EXPECT_TRUE(managers_->leases().empty());
  expect_works(own);
}

class ManagedNode : public SharedNode {
 protected:
  ManagedNode() : SharedNode(false) {}
};

TEST_F(ManagedNode, LeasesNothingByItself) {
  expect_no_session(direct_, ErrorKind::kDenied,
                    "node n1 is leased through its resource manager alone");
}

}  // namespace
}  // namespace sublet::test
