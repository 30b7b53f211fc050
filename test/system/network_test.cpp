// Nodes on another host: which transport leads there, and what happens when the cable is pulled in
// the middle of calls.

#include "support/managers.hpp"
#include "support/two_hosts.hpp"
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sublet {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::TestManagers;
using test::TestNode;
using test::TwoHosts;

class Network : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::string why_not;
    hosts_ = TwoHosts::make(why_not);
    if (!hosts_) GTEST_SKIP() << why_not;
    managers_ = std::make_unique<TestManagers>(*hosts_, std::vector{TestNode{}});
  }

  Session open_session() {
    SessionOptions options = managers_->session_options();
    options.transport = GetParam();
    options.peer_timeout = kPeerTimeout;
    return Session::open(options).value_or_throw();
  }

  static constexpr auto kPeerTimeout = 2s;
  /// When a call that was not lost has failed the test: the first one runs for longer.
  static constexpr auto kPatience = 60s;

  std::unique_ptr<TwoHosts> hosts_;
  std::unique_ptr<TestManagers> managers_;
};

TEST_P(Network, LosesCallsWhenTheLinkIsCutAndLeasesAgainAfterwards) {
  {
    Session session = open_session();
    Lease lease = session.lease({.cores = 2}).value_or_throw();
    EXPECT_EQ(lease.worker(0).transport, GetParam());
    Function wait = lease.function(CLIENT_FUNCTIONS, "spin_ms").value_or_throw();
    Function echo = lease.function(CLIENT_FUNCTIONS, "echo").value_or_throw();
    std::string text = "through the cable";
    std::string back(text.size(), ' ');
    ASSERT_TRUE(echo.call(text.data(), text.size(), back.data(), back.size()).ok());
    EXPECT_EQ(back, text);

    // One runs, some wait behind it, and others are sent into the cut.
    const std::uint32_t long_ms = 600'000;
    std::uint32_t done = 0;
    std::vector<Call> calls;
    std::vector<std::vector<char>> outputs(10, std::vector<char>(100'000));
    const std::vector<char> input(100'000, 'x');
    calls.push_back(wait.async(&long_ms, sizeof(long_ms), &done, sizeof(done)));
    for (std::size_t i = 0; i < 5; ++i) {
      calls.push_back(echo.async(input.data(), input.size(), outputs[i].data(), 100'000));
    }
    hosts_->cut();
    for (std::size_t i = 5; i < outputs.size(); ++i) {
      calls.push_back(echo.async(input.data(), input.size(), outputs[i].data(), 100'000));
    }
    std::size_t lost = 0;
    for (Call& call : calls) {
      const Reply reply = call.wait_for(kPatience);
      lost += reply.ok() ? 0 : 1;
      if (!reply.ok()) {
        EXPECT_TRUE(reply.status == Status::kLost || reply.status == Status::kClosed)
            << to_string(reply.status) << ": " << call.error();
      }
    }
    EXPECT_GE(lost, 1u);
    EXPECT_FALSE(echo.call(text.data(), text.size(), back.data(), back.size()).ok());
  }
  hosts_->restore();
  // The managers find each other again and the cores of the lost lease come back.
  managers_->wait_for_nodes(1, 60s);
  Session session = open_session();
  ASSERT_TRUE(eventually(
      [&] {
        auto lease = session.lease({.cores = 4});
        if (!lease) return false;
        Function echo = lease->function(CLIENT_FUNCTIONS, "echo").value_or_throw();
        char out = 0;
        return echo.call("y", 1, &out, 1).ok() && out == 'y';
      },
      60s));
}

INSTANTIATE_TEST_SUITE_P(Over, Network, ::testing::Values("tcp", "fabric"),
                         [](const auto& transport) { return std::string(transport.param); });

}  // namespace
}  // namespace sublet
