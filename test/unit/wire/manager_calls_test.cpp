// The calls on a resource manager, against one of this test: what it answers, and its refusals.

#include <wire/convert.hpp>
#include <wire/limits.hpp>
#include <wire/manager_calls.hpp>

#include <gtest/gtest.h>
#include <kj/async.h>

namespace sublet::wire {
namespace {

using namespace std::chrono_literals;

struct Script {
  bool refuse = false;
  std::uint64_t duration_ms = 0;
  std::uint64_t limit_ms = 0;
  std::string asked;
};

class ScriptedManager final : public ResourceManager::Server {
 public:
  explicit ScriptedManager(Script& script) : script_(script) {}

 protected:
  kj::Promise<void> lease(LeaseContext context) override {
    if (refused(context)) return kj::READY_NOW;
    script_.asked = to_string(context.getParams().getRequest().getOwner());
    sublet::Grant grant;
    grant.lease_id = 17;
    grant.cores = 2;
    grant.token.assign(kTokenBytes, std::byte{1});
    write(context.getResults().initGrants(1)[0], grant);
    return kj::READY_NOW;
  }
  kj::Promise<void> extend(ExtendContext context) override {
    if (refused(context)) return kj::READY_NOW;
    script_.duration_ms = context.getParams().getDurationMs();
    context.getResults().setExpiresUnixMs(1234);
    return kj::READY_NOW;
  }
  kj::Promise<void> nodes(NodesContext context) override {
    if (refused(context)) return kj::READY_NOW;
    NodeInfo info;
    info.name = "c1";
    info.addresses = {"unix:@c1"};
    info.state = "up";
    info.heartbeat_age = 250ms;
    write(context.getResults().initNodes(1)[0], info);
    return kj::READY_NOW;
  }
  kj::Promise<void> leases(LeasesContext context) override {
    if (refused(context)) return kj::READY_NOW;
    LeaseInfo info;
    info.id = 17;
    info.state = context.getParams().getIncludeEnded() ? "ended" : "active";
    info.nodes = {"c1", "c2"};
    info.usage = {1, 2, 3, 4, 5, 6.5};
    write(context.getResults().initLeases(1)[0], info);
    return kj::READY_NOW;
  }
  kj::Promise<void> drain(DrainContext context) override {
    if (refused(context)) return kj::READY_NOW;
    script_.asked = to_string(context.getParams().getNode());
    script_.limit_ms = context.getParams().getLimitMs();
    if (!context.getParams().getWait()) return kj::READY_NOW;
    auto drained = context.getResults().initDrained(2);
    write(drained[0], DrainReport{"boot/c1", DrainEnd::LEFT, DrainCounts{1, 2, 3, 4, 5, 6, 7}, 0});
    write(drained[1], DrainReport{"boot/c2\x1B", static_cast<DrainEnd>(99), {}, 8});
    return kj::READY_NOW;
  }
  kj::Promise<void> cancelDrain(CancelDrainContext context) override {
    if (refused(context)) return kj::READY_NOW;
    script_.asked = to_string(context.getParams().getNode());
    return kj::READY_NOW;
  }
  kj::Promise<void> release(ReleaseContext context) override {
    if (refused(context)) return kj::READY_NOW;
    script_.asked = std::to_string(context.getParams().getLeaseId()) +
                    to_string(context.getParams().getReason());
    return kj::READY_NOW;
  }
  kj::Promise<void> forget(ForgetContext context) override {
    if (refused(context)) return kj::READY_NOW;
    script_.asked = to_string(context.getParams().getNode());
    auto results = context.getResults();
    results.setForgotten(1);
    results.setLeases(2);
    results.setUp(3);
    return kj::READY_NOW;
  }
  kj::Promise<void> version(VersionContext context) override {
    context.getResults().setVersion("1.2.3");
    context.getResults().setInstance("this one");
    return kj::READY_NOW;
  }

 private:
  template <class Context>
  bool refused(Context& context) {
    if (script_.refuse) write(context.getResults().initFailure(), Error(ErrorKind::kDenied, "no"));
    return script_.refuse;
  }
  Script& script_;
};

class ManagerCallsTest : public testing::Test {
 protected:
  ManagerCallsTest() : scope_(loop_), manager_(kj::heap<ScriptedManager>(script_)) {}
  ~ManagerCallsTest() noexcept override = default;

  kj::EventLoop loop_;
  kj::WaitScope scope_;
  Script script_;
  ResourceManager::Client manager_;
};

TEST_F(ManagerCallsTest, GiveWhatTheManagerAnswers) {
  const auto granted =
      ask_lease(manager_, sublet::LeaseRequest{}, "boot/me", "me@here").wait(scope_);
  ASSERT_TRUE(granted) << granted.error().what();
  EXPECT_EQ(granted->grants.at(0).lease_id, 17u);
  EXPECT_EQ(script_.asked, "me@here");
  EXPECT_EQ(ask_extension(manager_, granted->grants[0], 90s).wait(scope_), 1234);
  EXPECT_EQ(script_.duration_ms, 90'000u);
  const auto nodes = ask_nodes(manager_).wait(scope_);
  ASSERT_TRUE(nodes && nodes->size() == 1);
  EXPECT_EQ(nodes->at(0).name, "c1");
  EXPECT_EQ(nodes->at(0).heartbeat_age, 250ms);
  const auto leases = ask_leases(manager_, true).wait(scope_);
  ASSERT_TRUE(leases && leases->size() == 1);
  EXPECT_EQ(leases->at(0).state, "ended");
  EXPECT_EQ(leases->at(0).nodes, (std::vector<std::string>{"c1", "c2"}));
  EXPECT_EQ(leases->at(0).usage.bytes_out, 5u);
  EXPECT_DOUBLE_EQ(leases->at(0).usage.core_seconds, 6.5);
  EXPECT_TRUE(ask_drain(manager_, "c1", 5s, "wanted", false).wait(scope_));
  EXPECT_EQ(script_.asked, "c1");
  EXPECT_EQ(script_.limit_ms, 5000u);
  EXPECT_EQ(ask_version(manager_).wait(scope_), "1.2.3");
}

TEST_F(ManagerCallsTest, GiveWhatBecameOfNodesAndLeases) {
  const auto drained = ask_drain(manager_, "c1", 5s, "wanted", true).wait(scope_);
  ASSERT_TRUE(drained && drained->size() == 2);
  EXPECT_EQ(drained->at(0).node_id, "boot/c1");
  EXPECT_EQ(drained->at(0).end, DrainEnd::LEFT);
  ASSERT_TRUE(drained->at(0).counts);
  EXPECT_EQ(drained->at(0).counts->unclaimed, 3u);
  EXPECT_EQ(drained->at(0).counts->workers_unknown, 7u);
  EXPECT_EQ(drained->at(1).node_id, "boot/c2?");
  EXPECT_STREQ(to_string(drained->at(1).end), "unknown");
  EXPECT_FALSE(drained->at(1).counts);
  EXPECT_EQ(drained->at(1).leases_lost, 8u);
  EXPECT_TRUE(ask_cancel_drain(manager_, "c3").wait(scope_));
  EXPECT_EQ(script_.asked, "c3");
  EXPECT_TRUE(ask_release(manager_, 17, " done").wait(scope_));
  EXPECT_EQ(script_.asked, "17 done");
  const auto forgotten = ask_forget(manager_, "c4").wait(scope_);
  ASSERT_TRUE(forgotten);
  EXPECT_EQ(script_.asked, "c4");
  EXPECT_EQ(forgotten->nodes, 1u);
  EXPECT_EQ(forgotten->leases, 2u);
  EXPECT_EQ(forgotten->up, 3u);
}

TEST_F(ManagerCallsTest, GiveTheManagersRefusal) {
  script_.refuse = true;
  const auto denied = [](const auto& answer) {
    return !answer && answer.error().kind() == ErrorKind::kDenied &&
           std::string(answer.error().what()) == "no";
  };
  EXPECT_TRUE(denied(ask_lease(manager_, sublet::LeaseRequest{}, "", "").wait(scope_)));
  EXPECT_TRUE(denied(ask_extension(manager_, sublet::Grant{}, 1s).wait(scope_)));
  EXPECT_TRUE(denied(ask_nodes(manager_).wait(scope_)));
  EXPECT_TRUE(denied(ask_leases(manager_, false).wait(scope_)));
  EXPECT_TRUE(denied(ask_drain(manager_, "c1", 1s, "", true).wait(scope_)));
  EXPECT_TRUE(denied(ask_cancel_drain(manager_, "c1").wait(scope_)));
  EXPECT_TRUE(denied(ask_release(manager_, 1, "").wait(scope_)));
  EXPECT_TRUE(denied(ask_forget(manager_, "c1").wait(scope_)));
}

TEST_F(ManagerCallsTest, ANegativeTimeIsNone) {
  EXPECT_TRUE(ask_drain(manager_, "c1", -5s, "", false).wait(scope_));
  EXPECT_EQ(script_.limit_ms, 0u);
}

TEST_F(ManagerCallsTest, OnlyTheManagerThatWroteTheFileWillDo) {
  ManagerLocation location("unix:@somewhere");
  check_instance(manager_, location).wait(scope_);
  location.instance = "this one";
  check_instance(manager_, location).wait(scope_);
  location.instance = "another one";
  try {
    check_instance(manager_, location).wait(scope_);
    FAIL() << "it is another one";
  } catch (const kj::Exception& exception) {
    EXPECT_EQ(exception.getType(), kj::Exception::Type::DISCONNECTED);
  }
}

}  // namespace
}  // namespace sublet::wire
