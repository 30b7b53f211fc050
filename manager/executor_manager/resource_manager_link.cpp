#include <base/log.hpp>
#include <common/async.hpp>
#include <common/host_addresses.hpp>
#include <common/messages.hpp>
#include <executor_manager/executor_manager.hpp>
#include <executor_manager/resource_manager_link.hpp>
#include <wire/convert.hpp>

#include <algorithm>

namespace sublet::manager {
namespace {

constexpr auto kConnectLimit = std::chrono::milliseconds(5000);
constexpr auto kRegisterLimit = std::chrono::milliseconds(5000);
constexpr auto kHeartbeatLimit = std::chrono::milliseconds(5000);
constexpr auto kGoodbyeLimit = std::chrono::milliseconds(1000);
/// For a resource manager that is away to come back and hear how the node's last leases have ended:
/// more than the longest pause between two tries to connect.
constexpr auto kLastWordLimit = wire::kReconnectMax + std::chrono::milliseconds(1000);

/// Not while a lease begins or ends, which is when that number changes.
constexpr kj::Duration kWarmToldAfter = 10 * kj::MILLISECONDS;

/// What the resource manager tells this node.
class NodeControlServer final : public wire::NodeControl::Server {
 public:
  explicit NodeControlServer(ExecutorManager& node) : node_(node) {}

  kj::Promise<void> grant(GrantContext context) override {
    auto terms = read_terms(context.getParams().getGrant());
    Result<void> result;
    if (terms) {
      terms->expires += node_.issuer().ahead;
      result = node_.grant(std::move(*terms), node_.issuer());
    } else {
      result = tl::unexpected<Error>(terms.error());
    }
    if (!result) wire::write(context.getResults().initFailure(), result.error());
    return kj::READY_NOW;
  }

  kj::Promise<void> revoke(RevokeContext context) override {
    const auto params = context.getParams();
    return node_
        .revoke(LeaseId{params.getLeaseId()}, params.getPart(),
                wire::cut_text(wire::to_string(params.getReason()), wire::kMaxText),
                params.getUnclaimedOnly())
        .then([context](bool held) mutable { context.getResults().setHeld(held); });
  }

  kj::Promise<void> extend(ExtendContext context) override {
    const auto params = context.getParams();
    auto result = node_.extend(LeaseId{params.getLeaseId()}, params.getPart(),
                               from_unix_ms(params.getExpiresUnixMs()) + node_.issuer().ahead);
    if (!result) wire::write(context.getResults().initFailure(), result.error());
    return kj::READY_NOW;
  }

  kj::Promise<void> drain(DrainContext context) override {
    const auto params = context.getParams();
    const auto limit = std::min<std::uint64_t>(
        params.getLimitMs(), static_cast<std::uint64_t>(milliseconds(wire::kDrainMax).count()));
    const auto ordered =
        node_.order_drain(wire::cut_text(wire::to_string(params.getReason()), wire::kMaxText),
                          milliseconds(static_cast<std::int64_t>(limit)), params.getOwnNotice());
    if (!ordered) wire::write(context.getResults().initFailure(), ordered.error());
    return kj::READY_NOW;
  }

  kj::Promise<void> endSoon(EndSoonContext context) override {
    const auto params = context.getParams();
    const auto most = static_cast<std::uint64_t>(milliseconds(wire::kMaxNotice).count());
    const milliseconds left(static_cast<std::int64_t>(std::min(params.getLeftMs(), most)));
    const auto told =
        node_.end_soon(LeaseId{params.getLeaseId()}, params.getPart(), left,
                       wire::cut_text(wire::to_string(params.getReason()), wire::kMaxText));
    if (!told) wire::write(context.getResults().initFailure(), told.error());
    return kj::READY_NOW;
  }

  kj::Promise<void> cancelDrain(CancelDrainContext context) override {
    const auto cancelled = node_.cancel_drain();
    if (cancelled) {
      context.getResults().setDrained(*cancelled);
    } else {
      wire::write(context.getResults().initFailure(), cancelled.error());
    }
    return kj::READY_NOW;
  }

 private:
  ExecutorManager& node_;
};

}  // namespace

ResourceManagerLink::ResourceManagerLink(ExecutorManager& node, kj::Network& network,
                                         kj::Timer& timer, Locate locate,
                                         milliseconds refused_limit)
    : node_(node),
      network_(network),
      timer_(timer),
      locate_(std::move(locate)),
      first_time_(nullptr),
      refused_limit_(refused_limit),
      refused_(nullptr),
      tasks_(*this) {
  auto paf = kj::newPromiseAndFulfiller<void>();
  first_time_fulfiller_ = kj::mv(paf.fulfiller);
  first_time_ = paf.promise.fork();
  auto refused = kj::newPromiseAndFulfiller<std::string>();
  refused_fulfiller_ = kj::mv(refused.fulfiller);
  refused_ = kj::mv(refused.promise);
  running_ = run(to_kj(wire::kReconnectMin)).eagerlyEvaluate([this](kj::Exception&& exception) {
    taskFailed(kj::mv(exception));
  });
}

kj::Promise<void> ResourceManagerLink::connect() {
  return within(timer_, kConnectLimit, locate_(), "finding the resource manager")
      .then([this](Result<wire::ManagerLocation>&& location) { return connect(location); });
}

kj::Promise<void> ResourceManagerLink::connect(const Result<wire::ManagerLocation>& location) {
  if (!location) {
    return KJ_EXCEPTION(DISCONNECTED, kj::str(location.error().what()));
  }
  const auto address = wire::Address::parse(location->address);
  if (!address) return KJ_EXCEPTION(FAILED, kj::str(address.error().what()));
  return RpcConnection::connect(network_, timer_, *address, kConnectLimit, node_.trust())
      .then([this, text = location->address](kj::Own<RpcConnection> connection) {
        return serve(kj::mv(connection), text);
      })
      .catch_([location = *location](kj::Exception&& exception) {
        kj::throwFatalException(KJ_EXCEPTION(
            DISCONNECTED,
            kj::str(location.to_string(), ": ", text_of(exception), "; ", location.advice())));
      });
}

kj::Promise<void> ResourceManagerLink::run(kj::Duration back_off) {
  return kj::evalNow([this] { return connect(); })
      .catch_([this](kj::Exception&& exception) {
        if (said_) return;
        said_ = true;
        base::log().warn("not registered with a resource manager: {}; trying again",
                         text_of(exception));
      })
      .then([this, back_off]() mutable {
        registration_ = nullptr;
        if (was_registered_) back_off = to_kj(wire::kReconnectMin);
        was_registered_ = false;
        return timer_.afterDelay(back_off);
      })
      .then([this, back_off] { return run(std::min(back_off * 2, to_kj(wire::kReconnectMax))); });
}

kj::Promise<void> ResourceManagerLink::serve(kj::Own<RpcConnection> connection,
                                             const std::string& address) {
  auto manager = connection->bootstrap().castAs<wire::ResourceManager>();
  auto time = wire::ask_clock(manager, [this] { return node_.now().time_since_epoch(); });
  return within(timer_, kRegisterLimit, kj::mv(time), "asking it for the time")
      .then([this, address, connection = kj::mv(connection)](
                Result<wire::ManagersClock>&& clock) mutable -> kj::Promise<void> {
        if (!clock) return KJ_EXCEPTION(FAILED, kj::str(clock.error().what()));
        node_.set_issuer({clock->grant_key, clock->ahead, clock->tolerance});
        return enlist(kj::mv(connection), address, *clock);
      });
}

kj::Promise<void> ResourceManagerLink::enlist(kj::Own<RpcConnection> connection,
                                              const std::string& address,
                                              const wire::ManagersClock& clock) {
  auto manager = connection->bootstrap().castAs<wire::ResourceManager>();
  auto request = manager.registerRequest();
  NodeOffer offer = offer_to(*connection);
  offer.clock_ahead = clock.ahead;
  offer.clock_error = clock.error;
  write(request.initNode(), offer);
  const auto held = this->held();
  auto list = request.initHeld(static_cast<unsigned>(held.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    write(list[i], told(held[i]->terms(), held[i]->held_since()));
  }
  // Those that end from here on are told by the registration, after these.
  auto ended = request.initEnded(static_cast<unsigned>(unkept_.size()));
  for (unsigned i = 0; i < ended.size(); ++i) {
    EndedGrant one = unkept_[i].grant;
    one.terms = told(std::move(one.terms), unkept_[i].held_since);
    one.ago = node_.now() - unkept_[i].at;
    write(ended[i], one);
  }
  const std::size_t ends = unkept_.size();
  ends_heard_ = 0;
  ends_dropped_ = 0;
  request.setControl(kj::heap<NodeControlServer>(node_));
  auto gone = connection->on_disconnect();
  return within(timer_, kRegisterLimit,
                request.send().then([](auto&& response) { return kj::mv(response); }),
                "registering")
      .then([this, gone = kj::mv(gone), ends,
             address](capnp::Response<wire::ResourceManager::RegisterResults>&& results) mutable
            -> kj::Promise<void> {
        if (auto failure = wire::failure_of(results)) {
          if (failure->kind() == ErrorKind::kInvalid) note_refusal(failure->what());
          kj::throwFatalException(KJ_EXCEPTION(FAILED, failure->what()));
        }
        base::log().info("registered with the resource manager at {}", address);
        registration_ = results.getRegistration();
        // What has ended since it was asked.
        for (std::size_t i = ends - ends_dropped_; i < unkept_.size(); ++i) tell(unkept_[i]);
        was_registered_ = true;
        refused_since_ = nullptr;
        said_ = false;
        first_time_fulfiller_->fulfill();
        if (node_.leaving()) draining();
        KJ_IF_MAYBE (waiting, registered_again_) {
          (*waiting)->fulfill();
        }
        registered_again_ = nullptr;
        tell_warm();
        const auto period = std::max<std::uint32_t>(results.getHeartbeatMs(), 10);
        return heartbeat(period * kj::MILLISECONDS).exclusiveJoin(kj::mv(gone));
      })
      .attach(kj::mv(connection));
}

GrantTerms ResourceManagerLink::told(GrantTerms terms, Time held_since) const {
  terms.held_for = node_.now() - held_since;
  terms.expires -= node_.issuer().ahead;
  return terms;
}

std::vector<HeldGrant*> ResourceManagerLink::held() const {
  std::vector<HeldGrant*> held = node_.held();
  std::erase_if(held, [](const HeldGrant* grant) {
    return wire::is_direct(number(grant->terms().key.lease));
  });
  return held;
}

void ResourceManagerLink::note_refusal(const std::string& why) {
  KJ_IF_MAYBE (since, refused_since_) {
    if (timer_.now() - *since > to_kj(refused_limit_) && node_.held().empty()) {
      refused_fulfiller_->fulfill(std::string(why));
    }
  } else {
    refused_since_ = timer_.now();
  }
}

kj::Promise<void> ResourceManagerLink::heartbeat(kj::Duration period) {
  return timer_.afterDelay(period).then([this, period]() -> kj::Promise<void> {
    KJ_IF_MAYBE (registration, registration_) {
      for (HeldGrant* grant : held()) {
        if (grant->state() != HeldGrant::State::kClaimed) continue;
        auto usage = registration->usageRequest();
        usage.setLeaseId(number(grant->terms().key.lease));
        usage.setPart(grant->terms().key.part);
        wire::write(usage.initUsage(), grant->usage());
        tasks_.add(usage.send().ignoreResult());
      }
      tell_call_times();
      auto beat = registration->heartbeatRequest();
      const DirectUse direct = node_.direct_use();
      beat.setDirectCores(direct.cores);
      beat.setDirectMemoryBytes(direct.memory_bytes);
      beat.setDirectGpus(direct.gpus);
      auto heard =
          beat.send().then([](auto&& response) -> std::uint64_t { return response.getEndsKept(); });
      return within(timer_, kHeartbeatLimit, kj::mv(heard), "a heartbeat")
          .then([this, period](std::uint64_t ends_kept) {
            note_kept(ends_kept);
            return heartbeat(period);
          });
    }
    return kj::NEVER_DONE;  // it is leaving: the connection must stay until the answer
  });
}

void ResourceManagerLink::draining() {
  KJ_IF_MAYBE (registration, registration_) {
    tasks_.add(registration->drainingRequest().send().ignoreResult());
  }
}

void ResourceManagerLink::warm(std::uint32_t executors) {
  warm_ = executors;
  if (telling_warm_) return;
  telling_warm_ = true;
  tasks_.add(timer_.afterDelay(kWarmToldAfter).then([this] {
    telling_warm_ = false;
    tell_warm();
  }));
}

void ResourceManagerLink::tell_call_times() {
  KJ_IF_MAYBE (registration, registration_) {
    const wire::CallTimes untold = node_.call_times().since(told_times_);
    if (untold.count() == 0) return;
    auto request = registration->callTimesRequest();
    write(request, untold);
    told_times_ += untold;  // not `now`: a counter that shrinks is not told again as it grows
    tasks_.add(request.send().ignoreResult());
  }
}

void ResourceManagerLink::tell_warm() {
  KJ_IF_MAYBE (registration, registration_) {
    auto request = registration->warmRequest();
    request.setExecutors(warm_);
    tasks_.add(request.send().ignoreResult());
  }
}

void ResourceManagerLink::claimed(const HeldGrant& grant) {
  KJ_IF_MAYBE (registration, registration_) {
    auto request = registration->claimedRequest();
    request.setLeaseId(number(grant.terms().key.lease));
    request.setPart(grant.terms().key.part);
    tasks_.add(request.send().ignoreResult());
  }
}

void ResourceManagerLink::ended(const HeldGrant& grant, const std::string& reason) {
  if (unkept_.size() == wire::kMaxUnheardEnds) {
    base::log().warn("the end of {} is told no more: the resource manager has not kept it",
                     name_of(unkept_.front().grant.terms.key));
    unkept_.pop_front();
    ++ends_dropped_;
  }
  unkept_.push_back({{grant.terms(), grant.usage(), reason, {}}, grant.held_since(), node_.now()});
  tell(unkept_.back());
}

void ResourceManagerLink::tell(const Ended& ended) {
  KJ_IF_MAYBE (registration, registration_) {
    auto request = registration->endedRequest();
    const GrantTerms terms = told(ended.grant.terms, ended.held_since);
    request.setLeaseId(number(terms.key.lease));
    request.setPart(terms.key.part);
    request.setReason(ended.grant.reason);
    wire::write(request.initUsage(), ended.grant.usage);
    write(request.initGrant(), terms);
    tasks_.add(request.send().ignoreResult());
  }
}

void ResourceManagerLink::note_kept(std::uint64_t ends) {
  for (; ends_heard_ < ends; ++ends_heard_) {
    if (ends_dropped_ > 0) {
      --ends_dropped_;
    } else if (!unkept_.empty()) {
      unkept_.pop_front();
    }
  }
}

kj::Promise<void> ResourceManagerLink::leave() {
  auto late = wire::after_running(timer_, kLastWordLimit);
  return say_goodbye().exclusiveJoin(kj::mv(late)).then([this] {
    registration_ = nullptr;
    running_ = nullptr;
  });
}

/// Until all that has ended is told, when somebody may still come to hear it.
kj::Promise<void> ResourceManagerLink::say_goodbye() {
  KJ_IF_MAYBE (registration, registration_) {
    // Answered after all that was said before: the ends of the grants.
    tell_call_times();
    auto goodbye = registration->leaveRequest();
    if (const auto counts = node_.drain_counts()) wire::write(goodbye.initTally(), *counts);
    auto heard = goodbye.send().ignoreResult();
    registration_ = nullptr;
    return within(timer_, kGoodbyeLimit, kj::mv(heard), "leaving")
        .catch_([this](kj::Exception&& exception) -> kj::Promise<void> {
          const bool gone = exception.getType() == kj::Exception::Type::DISCONNECTED;
          taskFailed(kj::mv(exception));
          if (gone) return say_goodbye();  // it may have been killed before it could keep them
          return kj::READY_NOW;
        });
  }
  if (unkept_.empty()) return kj::READY_NOW;
  auto paf = kj::newPromiseAndFulfiller<void>();
  registered_again_ = kj::mv(paf.fulfiller);
  return paf.promise.then([this] { return say_goodbye(); });
}

/// The node as clients of that manager reach it. For "every interface": the hosts that the operator
/// names, else the address that this node has on the way to the manager. A manager that is reached
/// without leaving this machine says nothing of others' ways: then the addresses of all interfaces.
NodeOffer ResourceManagerLink::offer_to(const RpcConnection& connection) const {
  NodeOffer offer = node_.offer();
  std::vector<std::string> hosts = node_.advertised_hosts();
  const std::string local = connection.peer().local_host();
  if (hosts.empty() && (local.empty() || is_loopback(local))) hosts = network_addresses();
  if (hosts.empty()) hosts.push_back(local.empty() ? "127.0.0.1" : local);
  std::vector<std::string> reachable;
  for (const std::string& text : offer.addresses) {
    auto address = wire::Address::parse(text);
    if (!address || address->kind != wire::Address::Kind::kTcp ||
        !is_every_interface(address->host)) {
      reachable.push_back(text);
      continue;
    }
    const bool only_v4 = address->host == "0.0.0.0";
    for (const std::string& host : hosts) {
      if (only_v4 && host.find(':') != std::string::npos) continue;
      if (reachable.size() == wire::kMaxAddresses) break;
      address->host = host;
      reachable.push_back(address->to_string());
    }
  }
  offer.addresses = std::move(reachable);
  return offer;
}

void ResourceManagerLink::taskFailed(kj::Exception&& exception) {
  base::log().debug("talking to the resource manager: {}", text_of(exception));
}

}  // namespace sublet::manager
