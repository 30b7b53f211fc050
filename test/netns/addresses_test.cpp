// What nodes advertise can be reached by those who are told.

#include "support/managers.hpp"
#include "support/temp_directory.hpp"
#include "support/two_hosts.hpp"
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;

/// Managers on the first host, which know of no name but the machine's: both hosts have that.
class Addresses : public testing::Test {
 protected:
  void SetUp() override {
    hosts_ = TwoHosts::make(why_not_);
    if (!hosts_) GTEST_SKIP() << why_not_;
  }

  std::string output(const std::string& name) const {
    std::ifstream file(directory_ + "/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// A manager, on the first host.
  void start(const std::string& log, std::vector<std::string> words) {
    words.insert(words.begin(), built_program("sublet"));
    ChildProcess::Options options;
    options.environment = environment();
    options.output = directory_ + "/" + log;
    processes_.push_back(std::make_unique<ChildProcess>(words, options));
  }
  static std::vector<std::string> environment() {
    return {"SUBLET_NODE_NAME",        "SLURMD_NODENAME", "SUBLET_MANAGER_DIR",
            "SUBLET_MANAGER",          "SUBLET_LOG=info", "SUBLET_MANAGER_CONFIG=/dev/null",
            "XDG_CONFIG_HOME=/nowhere"};
  }

  /// A resource manager at every interface and an executor manager that reaches it by `loopback`;
  /// the resource manager's port.
  std::string start_managers(const std::string& loopback, std::vector<std::string> more = {}) {
    const std::string file = directory_ + "/address";
    start("rm.log", {"resource-manager", "--listen", "tcp:*:0", "--address-file", file,
                     "--address-dir", directory_});
    EXPECT_TRUE(eventually([&] { return std::filesystem::exists(file); }, 30s)) << output("rm.log");
    std::string address;
    std::ifstream(file) >> address;
    std::string port = address.substr(address.rfind(':') + 1);
    std::vector<std::string> words = {"executor-manager", "--manager",
                                      "tcp:" + loopback + ":" + port, "--cores", "1"};
    words.insert(words.end(), more.begin(), more.end());
    start("em.log", words);
    EXPECT_TRUE(eventually(
        [&] { return output("em.log").find("registered with") != std::string::npos; }, 30s))
        << output("em.log");
    return port;
  }

  /// A client on the second host.
  std::pair<int, std::string> call_from_second(const std::string& manager,
                                               const std::string& transport = {}) {
    ChildProcess::Options options;
    options.environment = environment();
    const bool is_directory = manager.starts_with("/");
    options.environment.push_back((is_directory ? "SUBLET_MANAGER_DIR=" : "SUBLET_MANAGER=") +
                                  manager);
    if (!transport.empty()) options.environment.push_back("SUBLET_TRANSPORT=" + transport);
    options.output = directory_ + "/client" + std::to_string(clients_++);
    ChildProcess client(
        hosts_->on_second({built_program("surrounded_client"), SURROUNDED_FUNCTIONS, "next"}),
        options);
    const auto status = client.wait(60s);
    return {status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1,
            output("client" + std::to_string(clients_ - 1)) + output("em.log")};
  }

  std::string why_not_;
  std::unique_ptr<TwoHosts> hosts_;
  const TempDirectory temporary_;
  const std::string& directory_ = temporary_.path();
  std::vector<std::unique_ptr<ChildProcess>> processes_;
  int clients_ = 0;
};

TEST_F(Addresses, OfANodeBesideItsManagerAreTheNetworks) {
  const std::string port = start_managers("127.0.0.1");
  const auto [code, text] =
      call_from_second(std::string("tcp:") + TwoHosts::kFirstAddress + ":" + port);
  EXPECT_EQ(code, 0) << text;
  // Two hosts of one name are two nodes.
  EXPECT_EQ(text.find("transport shm"), std::string::npos) << text;
}

/// The host's name is an address of its own on each: 127.0.1.1, or nothing.
TEST_F(Addresses, OfAManagerAreFoundWhereItsNameLeadsNowhere) {
  start_managers("127.0.0.1");
  const auto [code, text] = call_from_second(directory_);
  EXPECT_EQ(code, 0) << text;
}

TEST_F(Addresses, OfAManagerAreFoundWhereThereIsNoIpv4) {
  if (!hosts_->keep_only_ipv6()) GTEST_SKIP() << "this kernel has no IPv6";
  start_managers("[::1]");
  const auto [code, text] = call_from_second(directory_, "tcp");
  EXPECT_EQ(code, 0) << text;
}

TEST_F(Addresses, HaveIpv6WhereThatIsAllThereIs) {
  if (!hosts_->keep_only_ipv6()) GTEST_SKIP() << "this kernel has no IPv6";
  const std::string port = start_managers("[::1]");
  const auto [code, text] =
      call_from_second(std::string("tcp:[") + TwoHosts::kFirstAddress6 + "]:" + port, "tcp");
  EXPECT_EQ(code, 0) << text;
}

TEST_F(Addresses, AreThoseThatTheOperatorNames) {
  const std::string port = start_managers(
      "127.0.0.1", {"--advertise", "10.99.0.1", "--advertise", TwoHosts::kFirstAddress});
  const auto [code, text] =
      call_from_second(std::string("tcp:") + TwoHosts::kFirstAddress + ":" + port);
  EXPECT_EQ(code, 0) << text;
}

}  // namespace
}  // namespace sublet::test
