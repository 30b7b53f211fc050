// How managers and clients find each other by an address file in a shared directory.

#include "support/child_process.hpp"
#include "support/temp_directory.hpp"
#include <common/manager_query.hpp>
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <memory>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;
class Discovery : public testing::Test {
 protected:
  Discovery() {
    options_.manager_directory = directory_;
    options_.allow_private = false;
    options_.node_name = "client";
    options_.transport = "tcp";
  }

  std::unique_ptr<ChildProcess> start(std::vector<std::string> words, const std::string& log) {
    words.insert(words.begin(), built_program("sublet"));
    ChildProcess::Options options;
    options.environment = {"SUBLET_MANAGER=", "SUBLET_MANAGER_DIR=" + directory_,
                           "XDG_RUNTIME_DIR=" + directory_, "SUBLET_MANAGER_CONFIG=/dev/null"};
    options.output = directory_ + "/" + log;
    return std::make_unique<ChildProcess>(words, options);
  }
  void start_manager() {
    const std::string before = instance();
    manager_ =
        start({"resource-manager", "--address-dir", directory_, "--listen", "tcp:127.0.0.1:0"},
              "manager.log");
    ASSERT_TRUE(eventually([&] { return !instance().empty() && instance() != before; }));
  }
  void start_node() {
    node_ = start({"executor-manager", "--node-name", "n1", "--cores", "1"}, "node.log");
  }
  std::string instance() const {
    const auto file = wire::ManagerAddressFile::read(directory_);
    return file ? file->instance : "";
  }
  bool node_is_up() const {
    const auto location = wire::find_manager({}, directory_);
    if (!location) return false;
    const auto nodes = manager::query_nodes(*location, 30s);
    return nodes && nodes->size() == 1 && nodes->front().state == "up";
  }
  std::string output(const std::string& log) const {
    std::ifstream file(directory_ + "/" + log);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const TempDirectory temporary_;
  const std::string& directory_ = temporary_.path();
  SessionOptions options_;
  std::unique_ptr<ChildProcess> manager_;
  std::unique_ptr<ChildProcess> node_;
};

TEST_F(Discovery, ANodeWaitsForTheFileAndAClientFindsBoth) {
  start_node();  // before there is any manager
  ASSERT_TRUE(eventually([&] {
    return output("node.log").find("has written its address") != std::string::npos;
  })) << output("node.log");
  start_manager();
  ASSERT_TRUE(eventually([&] { return node_is_up(); })) << output("node.log");
  auto session = Session::open(options_);
  ASSERT_TRUE(session) << session.error().what();
  EXPECT_TRUE(session->lease());
  manager_->signal(SIGTERM);
  ASSERT_TRUE(manager_->wait(20s));
  EXPECT_EQ(instance(), "");  // the file went with it
}

TEST_F(Discovery, AStaleFileIsToldFromAManagerThatDoesNotAnswer) {
  start_manager();
  manager_->signal(SIGKILL);
  ASSERT_TRUE(manager_->wait(20s));
  const auto session = Session::open(options_);
  ASSERT_FALSE(session);
  const std::string text = session.error().what();
  EXPECT_NE(text.find("stale"), std::string::npos) << text;
  EXPECT_NE(text.find(wire::kManagerAddressFile), std::string::npos) << text;
  EXPECT_EQ(session.error().kind(), ErrorKind::kDisconnected);
}

TEST_F(Discovery, AnotherManagerAtTheOldAddressIsNotTakenForIt) {
  start_manager();
  auto file = wire::ManagerAddressFile::read(directory_).value_or_throw();
  file.instance = "0123456789abcdef";
  std::ofstream(file.path) << file.to_text();
  const auto session = Session::open(options_);
  ASSERT_FALSE(session);
  const std::string text = session.error().what();
  EXPECT_NE(text.find("another resource manager answers there"), std::string::npos) << text;
  EXPECT_NE(text.find("stale"), std::string::npos) << text;
}

TEST_F(Discovery, ASecondManagerInTheDirectoryIsRefused) {
  start_manager();
  const std::string first = instance();
  auto second = start({"resource-manager", "--address-dir", directory_}, "second.log");
  const auto status = second->wait(20s);
  ASSERT_TRUE(status);
  EXPECT_EQ(WEXITSTATUS(*status), 4);
  EXPECT_NE(output("second.log").find("another resource manager serves"), std::string::npos)
      << output("second.log");
  EXPECT_EQ(instance(), first);
}

TEST_F(Discovery, AManagerWhosePlaceWasTakenWhileItWasStoppedEnds) {
  start_manager();
  const std::string first = instance();
  manager_->signal(SIGSTOP);
  auto second = start({"resource-manager", "--address-dir", directory_}, "second.log");
  ASSERT_TRUE(eventually([&] { return instance() != first; })) << output("second.log");
  const std::string now = instance();
  manager_->signal(SIGCONT);
  const auto status = manager_->wait(20s);
  ASSERT_TRUE(status);
  EXPECT_EQ(WEXITSTATUS(*status), 4);
  EXPECT_NE(output("manager.log").find("has taken over"), std::string::npos)
      << output("manager.log");
  EXPECT_EQ(instance(), now) << "the file of its successor is left alone";
}

TEST_F(Discovery, NodesAndClientsFollowAManagerThatIsStartedElsewhere) {
  start_manager();
  start_node();
  ASSERT_TRUE(eventually([&] { return node_is_up(); })) << output("node.log");
  auto session = Session::open(options_).value_or_throw();
  auto lease = session.lease().value_or_throw();
  manager_->signal(SIGKILL);
  ASSERT_TRUE(manager_->wait(20s));
  start_manager();  // at another port
  ASSERT_TRUE(eventually([&] { return node_is_up(); })) << output("node.log");
  EXPECT_TRUE(eventually([&] { return lease.extend(1h).has_value(); }));
  const auto leases = session.leases();
  ASSERT_TRUE(leases) << leases.error().what();
  EXPECT_EQ(leases->size(), 1u);
}

}  // namespace
}  // namespace sublet::test
