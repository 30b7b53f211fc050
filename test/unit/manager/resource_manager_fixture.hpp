#pragma once

// The resource manager's service against executor managers and clients of a test, on one event loop
// and a timer that the test moves.

#include <common/async.hpp>
#include <common/messages.hpp>
#include <resource_manager/resource_manager_server.hpp>
#include <wire/convert.hpp>
#include <wire/limits.hpp>

#include <gtest/gtest.h>
#include <kj/async.h>
#include <kj/timer.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

/// What an executor manager of this test does when it is told of a grant.
enum class Mood { kAccept, kRefuse, kSilent };

struct FakeNode {
  explicit FakeNode(Mood its_mood = Mood::kAccept) : mood(its_mood) {}

  Mood mood;
  std::size_t heard = 0;  ///< Grants that it was told of.
  std::vector<GrantTerms> granted;
  std::vector<GrantKey> revoked;
  std::vector<bool> revoked_unclaimed_only;
  std::vector<std::string> reasons;  ///< Of revocations.
  bool holds_on = false;             ///< Answers a conditional revocation with `held`.
  std::map<std::uint64_t, std::int64_t> extended;
  std::vector<std::string> drained;  ///< The reasons.
  bool drains = false;
  std::vector<bool> own_notice;                     ///< Of drains.
  std::map<std::uint64_t, std::uint64_t> end_soon;  ///< What is left in ms.
  std::optional<Error> refusal;                     ///< Of a drain, and of its cancellation.
  wire::SigningKey key = wire::SigningKey::make();
  milliseconds clock_ahead{0};
};

class FakeControl final : public wire::NodeControl::Server {
 public:
  explicit FakeControl(FakeNode& node) : node_(node) {}

 protected:
  kj::Promise<void> grant(GrantContext context) override {
    auto terms = read_terms(context.getParams().getGrant());
    EXPECT_TRUE(terms) << terms.error().what();
    ++node_.heard;
    if (node_.mood == Mood::kSilent) return kj::NEVER_DONE;
    if (node_.mood == Mood::kRefuse) {
      wire::write(context.getResults().initFailure(),
                  Error(ErrorKind::kOverloaded, "my cores are busy"));
      return kj::READY_NOW;
    }
    node_.granted.push_back(*terms);
    return kj::READY_NOW;
  }
  kj::Promise<void> revoke(RevokeContext context) override {
    const auto params = context.getParams();
    node_.revoked.push_back({LeaseId{params.getLeaseId()}, params.getPart(), NodeNumber{}});
    node_.reasons.push_back(wire::to_string(params.getReason()));
    node_.revoked_unclaimed_only.push_back(params.getUnclaimedOnly());
    context.getResults().setHeld(params.getUnclaimedOnly() && node_.holds_on);
    return kj::READY_NOW;
  }
  kj::Promise<void> extend(ExtendContext context) override {
    const auto params = context.getParams();
    node_.extended[params.getLeaseId()] = params.getExpiresUnixMs();
    return kj::READY_NOW;
  }
  kj::Promise<void> drain(DrainContext context) override {
    node_.drained.push_back(wire::to_string(context.getParams().getReason()));
    node_.own_notice.push_back(context.getParams().getOwnNotice());
    if (node_.refusal) {
      wire::write(context.getResults().initFailure(), *node_.refusal);
    } else {
      node_.drains = true;
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> endSoon(EndSoonContext context) override {
    const auto params = context.getParams();
    node_.end_soon[params.getLeaseId()] = params.getLeftMs();
    node_.reasons.push_back(wire::to_string(params.getReason()));
    return kj::READY_NOW;
  }
  kj::Promise<void> cancelDrain(CancelDrainContext context) override {
    if (node_.refusal) {
      wire::write(context.getResults().initFailure(), *node_.refusal);
    } else {
      context.getResults().setDrained(std::exchange(node_.drains, false));
    }
    return kj::READY_NOW;
  }

 private:
  FakeNode& node_;
};

class ResourceManagerTest : public testing::Test {
 protected:
  ResourceManagerTest()
      : timer_(kj::origin<kj::TimePoint>()),
        scope_(loop_),
        service_(kj::refcounted<ResourceManagerService>(timer_, *Operators::of_this_process(),
                                                        [this] { return now_; })),
        manager_(make_resource_manager(kj::addRef(*service_), nullptr)) {}
  ~ResourceManagerTest() noexcept override {}

  wire::NodeRegistration::Client join(FakeNode& node, const std::string& name, std::uint32_t cores,
                                      std::vector<GrantTerms> held = {},
                                      const std::string& boot = "boot") {
    NodeOffer offer{name, boot + "/" + name, cores, 1u << 30, "0", {"unix:@" + name}};
    offer.key = node.key.public_key();
    offer.clock_ahead = node.clock_ahead;
    auto request = manager_.registerRequest();
    write(request.initNode(), offer);
    auto list = request.initHeld(static_cast<unsigned>(held.size()));
    for (unsigned i = 0; i < list.size(); ++i) write(list[i], held[i]);
    request.setControl(kj::heap<FakeControl>(node));
    auto response = request.send().wait(scope_);
    EXPECT_FALSE(wire::failure_of(response)) << wire::failure_of(response)->what();
    EXPECT_EQ(response.getHeartbeatMs(), 1000u);
    return response.getRegistration();
  }

  auto ask(std::uint32_t cores, std::uint32_t parts = 1, milliseconds wait = {}) {
    auto request = manager_.leaseRequest();
    sublet::LeaseRequest wanted;
    wanted.cores = cores;
    wanted.parts = parts;
    wanted.memory_bytes = 0;
    wanted.placement = Placement::kPack;
    wanted.wait = wait;
    wanted.holders.assign(parts, holder_.public_key());
    wire::write(request.initRequest(), wanted, "boot/me", "someone@here");
    return request.send();
  }

  /// Lets time pass and everything that is due happen.
  void pass(milliseconds time) {
    for (milliseconds done{0}; done < time; done += std::chrono::milliseconds(100)) {
      now_ += std::chrono::milliseconds(100);
      elapsed_ += std::chrono::milliseconds(100);
      timer_.advanceTo(kj::origin<kj::TimePoint>() + to_kj(elapsed_));
      turn();
    }
  }
  void turn() { scope_.poll(); }

  std::uint32_t free_cores() {
    std::uint32_t free = 0;
    for (const NodeInfo& node : service_->book().nodes().views(now_)) free += node.free_cores;
    return free;
  }

  const wire::SigningKey holder_ = wire::SigningKey::make();
  Time now_{std::chrono::milliseconds(1'800'000'000'000)};
  milliseconds elapsed_{0};
  kj::TimerImpl timer_;  // outlives what waits for it on the loop
  kj::EventLoop loop_;
  kj::WaitScope scope_;
  kj::Own<ResourceManagerService> service_;
  wire::ResourceManager::Client manager_;
};

}  // namespace sublet::manager
