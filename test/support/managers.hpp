#pragma once

#include "child_process.hpp"
#include "temp_directory.hpp"
#include "two_hosts.hpp"
#include <sublet/session.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sublet::test {

/// An executor manager, by what it offers.
struct TestNode {
  std::string name = "n1";
  std::uint32_t cores = 1;          ///< Of the machine; several nodes may share them.
  std::uint32_t oversubscribe = 4;  ///< Workers per core.
  std::string memory = "1GiB";
  std::vector<std::string> more{};    ///< Further flags.
  std::vector<std::string> before{};  ///< Words in front of the command: what runs it.
};

/// Real managers for one test: a resource manager and any number of executor managers, each a
/// process of its own, with their sockets in a fresh directory. Any number of these run side by
/// side. The destructor kills all of them, and shows what they said when the test has failed.
///
///   sublet::test::TestManagers managers;                      // one node "n1" of 4 workers
///   auto session = sublet::Session::open(managers.session_options("n1"));
///
/// Everything that waits has a deadline and throws std::runtime_error with what the processes said.
class TestManagers {
 public:
  /// Starts a resource manager and `nodes`, and waits until all are registered. With `ledger` the
  /// resource manager keeps its state in state_directory().
  explicit TestManagers(const std::vector<TestNode>& nodes = {TestNode{}}, bool tcp = false,
                        bool ledger = false);
  /// With the resource manager on the first host and the nodes on the second one: the test is a
  /// client on the first. `hosts` outlives this.
  TestManagers(const TwoHosts& hosts, const std::vector<TestNode>& nodes);
  TestManagers(const TestManagers&) = delete;
  TestManagers& operator=(const TestManagers&) = delete;
  ~TestManagers();

  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] std::string state_directory() const { return directory_ + "/state"; }
  /// For a client on the node of that name.
  [[nodiscard]] SessionOptions session_options(const std::string& node = "n1") const;
  /// For a program that the test starts: SUBLET_MANAGER, SUBLET_NODE_NAME, ...
  [[nodiscard]] std::vector<std::string> environment(const std::string& node = "n1") const;

  void start_resource_manager();
  void start_node(const TestNode& node);
  /// Starts the node of that index once more, after its executor manager has ended.
  void restart_node(std::size_t index);
  [[nodiscard]] ChildProcess& resource_manager() { return *resource_manager_; }
  [[nodiscard]] ChildProcess& node(std::size_t index) { return *nodes_.at(index); }

  [[nodiscard]] std::vector<NodeInfo> nodes() const;
  [[nodiscard]] std::vector<LeaseInfo> leases(bool include_ended = false) const;
  /// Over all nodes that are up.
  [[nodiscard]] std::uint32_t free_cores() const;

  void wait_for_nodes(std::size_t count,
                      std::chrono::milliseconds limit = std::chrono::seconds(30)) const;
  void wait_for_free_cores(std::uint32_t count,
                           std::chrono::milliseconds limit = std::chrono::seconds(30)) const;

  /// Processes that were started for this object, whoever started them, by command name: managers,
  /// "sublet-executor" (zygotes and executors; processes that a zygote keeps ready are left out as
  /// long as it lives). Found by a mark in their environment.
  [[nodiscard]] std::vector<pid_t> processes() const;
  /// Of these, the executors: children of a zygote.
  [[nodiscard]] std::vector<pid_t> executors() const;
  /// The zygote of the only node: their parent, a child of the executor manager. -1: there is none.
  [[nodiscard]] pid_t zygote() const;

  /// What all of them have written so far.
  [[nodiscard]] std::string output() const;

 private:
  void start(const std::vector<TestNode>& nodes);
  [[nodiscard]] std::unique_ptr<ChildProcess> launch(const TestNode& node) const;
  [[noreturn]] void give_up(const std::string& what) const;

  const TempDirectory temporary_;
  const std::string& directory_ = temporary_.path();
  std::string mark_;
  const TwoHosts* hosts_ = nullptr;
  bool tcp_;
  bool ledger_ = false;
  std::string address_;
  std::unique_ptr<ChildProcess> resource_manager_;
  std::vector<std::unique_ptr<ChildProcess>> nodes_;
  std::vector<TestNode> node_options_;
};

}  // namespace sublet::test
