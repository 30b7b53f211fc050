#include "managers.hpp"

#include <common/manager_query.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>

namespace sublet::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// Of those that executors keep of their manager's environment.
constexpr const char* kMarkVariable = "LC_SUBLET_TEST=";
constexpr auto kQueryLimit = 30s;

std::string read_all(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool is_marked(pid_t pid, const std::string& mark) {
  const std::string environment = read_all("/proc/" + std::to_string(pid) + "/environ");
  for (std::size_t begin = 0; begin < environment.size();) {
    const std::size_t end = std::min(environment.find('\0', begin), environment.size());
    if (environment.compare(begin, end - begin, mark) == 0) return true;
    begin = end + 1;
  }
  return false;
}

/// Fields of /proc/PID/stat after the command's name: state first, then the parent.
std::pair<char, pid_t> state_and_parent(pid_t pid) {
  const std::string stat = read_all("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t after = stat.rfind(')');
  char state = 'X';
  pid_t parent = 0;
  if (after != std::string::npos) std::istringstream(stat.substr(after + 1)) >> state >> parent;
  return {state, parent};
}

std::string command_line(pid_t pid) {
  return read_all("/proc/" + std::to_string(pid) + "/cmdline");
}

}  // namespace

TestManagers::TestManagers(const std::vector<TestNode>& nodes, bool tcp, bool ledger)
    : tcp_(tcp), ledger_(ledger) {
  start(nodes);
}

TestManagers::TestManagers(const TwoHosts& hosts, const std::vector<TestNode>& nodes)
    : hosts_(&hosts), tcp_(true) {
  start(nodes);
}

void TestManagers::start(const std::vector<TestNode>& nodes) {
  static std::atomic<unsigned> count{0};
  mark_ = kMarkVariable + std::to_string(::getpid()) + "-" + std::to_string(count++);
  start_resource_manager();
  for (const TestNode& node : nodes) start_node(node);
  wait_for_nodes(nodes.size());
}

TestManagers::~TestManagers() {
  nodes_.clear();
  resource_manager_.reset();
  // Zygotes end their executors and themselves once their manager is gone.
  if (!eventually([this] { return processes().empty(); }, 20s)) {
    for (const pid_t pid : processes()) ::kill(pid, SIGKILL);
  }
  if (testing::Test::HasFailure()) std::cerr << output();
}

void TestManagers::give_up(const std::string& what) const {
  throw std::runtime_error(what + "\n" + output());
}

std::string TestManagers::output() const {
  std::string text;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory_, ignored)) {
    if (entry.path().extension() != ".log") continue;
    text += "---- " + entry.path().filename().string() + "\n" + read_all(entry.path());
  }
  return text;
}

std::vector<std::string> TestManagers::environment(const std::string& node) const {
  return {
      "SUBLET_MANAGER=" + address_,     "SUBLET_NODE_NAME=" + node, mark_,
      "XDG_RUNTIME_DIR=" + directory_,  "SUBLET_LOG=info",          "XDG_CONFIG_HOME=" + directory_,
      "SUBLET_MANAGER_CONFIG=/dev/null"};
}

SessionOptions TestManagers::session_options(const std::string& node) const {
  SessionOptions options;
  options.manager = address_;
  options.allow_private = false;
  options.timeout = kQueryLimit;
  // Another node than those of the second host.
  options.node_name = hosts_ == nullptr ? node : "first";
  if (const char* transport = std::getenv("SUBLET_TRANSPORT")) options.transport = transport;
  return options;
}

void TestManagers::start_resource_manager() {
  resource_manager_.reset();
  const std::string file = directory_ + "/address";
  std::error_code ignored;
  fs::remove(file, ignored);
  // A manager that is started again listens where the first one did.
  std::string listen = address_;
  if (listen.empty()) {
    const std::string host = hosts_ == nullptr ? "127.0.0.1" : TwoHosts::kFirstAddress;
    listen = tcp_ ? "tcp:" + host + ":0" : "unix:" + directory_ + "/run/manager.sock";
  }
  ChildProcess::Options options;
  options.environment = environment("manager");
  options.output = directory_ + "/resource-manager.log";
  std::vector<std::string> words = {
      built_program("sublet"), "resource-manager", "--listen", listen, "--address-file", file};
  if (ledger_) words.insert(words.end(), {"--state-dir", state_directory()});
  resource_manager_ = std::make_unique<ChildProcess>(words, options);
  if (!eventually([&] { return fs::exists(file); }, 30s)) {
    give_up("the resource manager does not start");
  }
  std::ifstream(file) >> address_;
}

void TestManagers::start_node(const TestNode& node) {
  node_options_.push_back(node);
  nodes_.push_back(launch(node));
}

void TestManagers::restart_node(std::size_t index) {
  nodes_.at(index).reset();
  nodes_.at(index) = launch(node_options_.at(index));
}

std::unique_ptr<ChildProcess> TestManagers::launch(const TestNode& node) const {
  ChildProcess::Options options;
  options.environment = environment(node.name);
  options.output = directory_ + "/node-" + node.name + ".log";
  std::vector<std::string> words = {built_program("sublet"), "executor-manager", "--manager",
                                    address_, "--node-name", node.name, "--cores",
                                    std::to_string(node.cores), "--oversubscribe",
                                    std::to_string(node.oversubscribe), "--memory", node.memory,
                                    // Functions of tests write files that the tests look at.
                                    "--isolation", "process"};
  words.insert(words.end(), node.more.begin(), node.more.end());
  words.insert(words.begin(), node.before.begin(), node.before.end());
  if (hosts_ != nullptr) words = hosts_->on_second(words);
  return std::make_unique<ChildProcess>(words, options);
}

std::vector<NodeInfo> TestManagers::nodes() const {
  auto nodes = manager::query_nodes(address_, kQueryLimit);
  return nodes ? *nodes : std::vector<NodeInfo>{};
}

std::vector<LeaseInfo> TestManagers::leases(bool include_ended) const {
  auto leases = manager::query_leases(address_, include_ended, kQueryLimit);
  return leases ? *leases : std::vector<LeaseInfo>{};
}

std::uint32_t TestManagers::free_cores() const {
  std::uint32_t free = 0;
  for (const NodeInfo& info : nodes()) {
    if (info.state == "up") free += info.free_cores;
  }
  return free;
}

void TestManagers::wait_for_nodes(std::size_t count, std::chrono::milliseconds limit) const {
  const auto up = [this] {
    std::size_t number = 0;
    for (const NodeInfo& info : nodes()) number += info.state == "up" ? 1 : 0;
    return number;
  };
  if (!eventually([&] { return up() == count; }, limit)) {
    give_up("there are " + std::to_string(up()) + " nodes up where " + std::to_string(count) +
            " should be");
  }
}

void TestManagers::wait_for_free_cores(std::uint32_t count, std::chrono::milliseconds limit) const {
  if (!eventually([&] { return free_cores() == count; }, limit)) {
    give_up("there are " + std::to_string(free_cores()) + " cores free where " +
            std::to_string(count) + " should be");
  }
}

namespace {

bool is_executor_program(pid_t pid) {
  return command_line(pid).find("sublet-executor") != std::string::npos;
}

bool is_spare(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  return file >> name && name == "sublet-spare" &&
         is_executor_program(state_and_parent(pid).second);
}

}  // namespace

std::vector<pid_t> TestManagers::processes() const {
  std::vector<pid_t> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
    if (is_marked(pid, mark_) && state_and_parent(pid).first != 'Z' && !is_spare(pid)) {
      found.push_back(pid);
    }
  }
  return found;
}

std::vector<pid_t> TestManagers::executors() const {
  std::vector<pid_t> found;
  for (const pid_t pid : processes()) {
    if (is_executor_program(pid) && is_executor_program(state_and_parent(pid).second)) {
      found.push_back(pid);
    }
  }
  return found;
}

pid_t TestManagers::zygote() const {
  for (const pid_t pid : processes()) {
    if (is_executor_program(pid) && !is_executor_program(state_and_parent(pid).second)) return pid;
  }
  return -1;
}

}  // namespace sublet::test
