// A real executor manager against a resource manager of this test, on one event loop.

#include "support/temp_directory.hpp"
#include <common/async.hpp>
#include <common/messages.hpp>
#include <common/rpc_listener.hpp>
#include <executor_manager/executor_manager.hpp>
#include <wire/convert.hpp>

#include <gtest/gtest.h>
#include <kj/async-io.h>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

/// What the node does with its registration.
struct Seen {
  int registrations = 0;
  bool refuse = false;  ///< What the manager does with a registration.
  int heartbeats = 0;
  unsigned ends = 0;  ///< Told in a registration.
  bool goodbye = false;
  bool answered = false;
  milliseconds clock_ahead{0};
  std::size_t key_bytes = 0;
  kj::Maybe<wire::NodeControl::Client> control;
  std::int64_t ended_expires_unix_ms = 0;  ///< Of the grant that ended last.
};

/// Wants a heartbeat every 10 ms, and answers a goodbye only after many of these.
class Registration final : public wire::NodeRegistration::Server {
 public:
  Registration(kj::Timer& timer, Seen& seen) : timer_(timer), seen_(seen) {}

 protected:
  kj::Promise<void> heartbeat(HeartbeatContext) override {
    ++seen_.heartbeats;
    return kj::READY_NOW;
  }
  kj::Promise<void> ended(EndedContext context) override {
    seen_.ended_expires_unix_ms = context.getParams().getGrant().getExpiresUnixMs();
    return kj::READY_NOW;
  }
  kj::Promise<void> leave(LeaveContext) override {
    seen_.goodbye = true;
    return timer_.afterDelay(300 * kj::MILLISECONDS).then([this] { seen_.answered = true; });
  }

 private:
  kj::Timer& timer_;
  Seen& seen_;
};

class Manager final : public wire::ResourceManager::Server {
 public:
  Manager(kj::Timer& timer, Seen& seen) : timer_(timer), seen_(seen) {}

 protected:
  kj::Promise<void> clock(ClockContext context) override {
    auto results = context.getResults();
    results.setUnixMs(to_unix_ms(ManagerClock().now()));
    results.initGrantKey(32);
    results.setToleranceMs(30'000);
    return kj::READY_NOW;
  }
  kj::Promise<void> register_(RegisterContext context) override {
    ++seen_.registrations;
    seen_.ends += context.getParams().getEnded().size();
    const auto node = context.getParams().getNode();
    seen_.clock_ahead = milliseconds(node.getClockAheadMs());
    seen_.key_bytes = node.getKey().size();
    seen_.control = context.getParams().getControl();
    if (seen_.refuse) {
      wire::write(context.getResults().initFailure(), Error(ErrorKind::kInvalid, "another has it"));
      return kj::READY_NOW;
    }
    context.getResults().setRegistration(kj::heap<Registration>(timer_, seen_));
    context.getResults().setHeartbeatMs(10);
    return kj::READY_NOW;
  }

 private:
  kj::Timer& timer_;
  Seen& seen_;
};

class ResourceManagerLinkTest : public testing::Test {
 protected:
  ResourceManagerLinkTest() {
    listen();
    ExecutorManagerOptions options;
    options.manager = wire::ManagerLocation("unix:" + directory_ + "/run/manager.sock");
    options.cores = 1;
    options.memory_bytes = std::uint64_t{64} << 20;
    options.node_name = "n1";
    options.cgroup = false;
    options.refused_limit = 100ms;
    options.clock = ManagerClock(2h);
    node_ =
        ExecutorManager::start(io_, start_zygote(ZygoteFor::kApplication).value_or_throw(), options)
            .value_or_throw();
  }
  ~ResourceManagerLinkTest() noexcept override {
    node_ = nullptr;
    listener_ = nullptr;
  }

  void listen() {
    const auto address =
        wire::Address::parse("unix:" + directory_ + "/run/manager.sock").value_or_throw();
    listener_ = kj::heap<RpcListener>(
        *io_.lowLevelProvider, ListeningSocket::open(address, "test").value_or_throw(),
        [this](const std::shared_ptr<Peer>&) -> capnp::Capability::Client {
          return kj::heap<Manager>(timer(), seen_);
        },
        connections_);
  }
  [[nodiscard]] GrantTerms terms() const {
    GrantTerms terms;
    terms.key = {LeaseId{17}, 0, NodeNumber{}};
    terms.workers = 1;
    terms.token.fill(7);
    terms.hot_timeout_ms = 0;
    terms.expires = node_->now() + 100s;
    return terms;
  }

  kj::Timer& timer() { return io_.provider->getTimer(); }
  void wait(kj::Promise<void> promise) {
    within(timer(), 10s, kj::mv(promise), "what the test waits for").wait(io_.waitScope);
  }
  kj::Promise<void> until_heartbeats(int count) {
    if (seen_.heartbeats >= count) return kj::READY_NOW;
    return timer().afterDelay(1 * kj::MILLISECONDS).then([this, count] {
      return until_heartbeats(count);
    });
  }

  kj::AsyncIoContext io_ = kj::setupAsyncIo();
  const test::TempDirectory temporary_;
  const std::string& directory_ = temporary_.path();
  Seen seen_;
  std::shared_ptr<ServedConnections> connections_ =
      std::make_shared<ServedConnections>(50, wire::Trust::load({}));
  kj::Own<RpcListener> listener_;
  kj::Own<ExecutorManager> node_;
};

TEST_F(ResourceManagerLinkTest, KeepsTheConnectionUntilItsGoodbyeIsAnswered) {
  wait(node_->registered());
  wait(until_heartbeats(3));
  wait(node_->stop("the test ends"));
  EXPECT_TRUE(seen_.goodbye);
  EXPECT_TRUE(seen_.answered) << "a heartbeat fell into the goodbye and ended the connection";
  EXPECT_EQ(seen_.registrations, 1) << "a node that leaves does not register again";
}

/// A registration tells of it: else a resource manager that was started again gives its cores away.
TEST_F(ResourceManagerLinkTest, HoldsAGrantThatIsEndingUntilItsCoresAreFree) {
  node_->grant(terms(), {}).value_or_throw();
  auto gone = node_->revoke(LeaseId{17}, 0, "the test wants it", false);
  ASSERT_EQ(node_->held().size(), 1u);
  EXPECT_TRUE(node_->held().front()->over());
  wait(gone.ignoreResult());
  EXPECT_TRUE(node_->held().empty());
}

TEST_F(ResourceManagerLinkTest, TellsAManagerThatComesBackHowLeasesHaveEndedBeforeItLeaves) {
  wait(node_->registered());
  listener_ = nullptr;
  node_->grant(terms(), {}).value_or_throw();
  wait(node_->revoke(LeaseId{17}, 0, "the test wants it", false).ignoreResult());
  auto stopped = node_->stop("the test ends").eagerlyEvaluate(nullptr);
  listen();
  wait(kj::mv(stopped));
  EXPECT_EQ(seen_.ends, 1u);
  EXPECT_TRUE(seen_.goodbye);
}

TEST_F(ResourceManagerLinkTest, GivesUpWhenItsNodeIsRefusedForTooLong) {
  seen_.refuse = true;
  std::string why;
  wait(node_->refused().then([&why](const std::string& text) { why = text; }));
  EXPECT_EQ(why, "another has it");
  EXPECT_GT(seen_.registrations, 1) << "it might have been a matter of moments";
}

TEST_F(ResourceManagerLinkTest, SpeaksOfTimesByTheManagersClock) {
  wait(node_->registered());
  EXPECT_EQ(seen_.key_bytes, 32u);
  // Two hours, and what lies between two looks at a clock.
  EXPECT_LT(seen_.clock_ahead - 2h, 30s);
  EXPECT_GT(seen_.clock_ahead - 2h, -30s);
  GrantTerms terms;
  terms.key = {LeaseId{17}, 0, NodeNumber{}};
  terms.workers = 1;
  terms.memory_bytes = 32u << 20;
  terms.arena_bytes = 1u << 20;
  terms.token.fill(7);
  terms.expires = ManagerClock().now() + 1h;
  auto& control = KJ_ASSERT_NONNULL(seen_.control);
  auto told = control.grantRequest();
  write(told.initGrant(), terms);
  wait(told.send().ignoreResult());
  ASSERT_EQ(node_->held().size(), 1u);
  const HeldGrant& held = *node_->held().front();
  EXPECT_EQ(held.terms().expires, terms.expires + seen_.clock_ahead) << "by the node's own";
  auto longer = control.extendRequest();
  longer.setLeaseId(17);
  longer.setExpiresUnixMs(to_unix_ms(terms.expires + 1h));
  wait(longer.send().ignoreResult());
  EXPECT_EQ(held.terms().expires, terms.expires + 1h + seen_.clock_ahead);
  auto revoke = control.revokeRequest();
  revoke.setLeaseId(17);
  wait(revoke.send().ignoreResult());
  wait(node_->stop("the test ends"));
  EXPECT_EQ(seen_.ended_expires_unix_ms, to_unix_ms(terms.expires + 1h));
}

}  // namespace
}  // namespace sublet::manager
