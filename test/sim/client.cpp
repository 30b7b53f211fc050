#include "client.hpp"

#include "machine.hpp"
#include <client/lease_events.hpp>
#include <common/async.hpp>
#include <wire/limits.hpp>
#include <wire/manager_calls.hpp>
#include <wire/running_time.hpp>

#include <kj/debug.h>

#include <utility>

namespace sublet::sim {
namespace {

using namespace std::chrono_literals;

/// A session's, for all of an exchange.
constexpr auto kExchange = 5s;
/// Of a lease without any deadline of the client's: all placements, each with its time-out, while
/// machines are stopped and cut off.
constexpr auto kPatience = 40s;
constexpr auto kLook = 200ms;

class Provider final : public kj::AsyncIoProvider {
 public:
  explicit Provider(Process& process) : process_(process) {}
  kj::OneWayPipe newOneWayPipe() override { KJ_UNIMPLEMENTED("no pipes are simulated"); }
  kj::TwoWayPipe newTwoWayPipe() override { KJ_UNIMPLEMENTED("no pipes are simulated"); }
  kj::Network& getNetwork() override { return process_.network(); }
  PipeThread newPipeThread(
      kj::Function<void(kj::AsyncIoProvider&, kj::AsyncIoStream&, kj::WaitScope&)>) override {
    KJ_UNIMPLEMENTED("no threads are simulated");
  }
  kj::Timer& getTimer() override { return process_.timer(); }

 private:
  Process& process_;
};

/// Named by a context for I/O, and never used: nothing here has a descriptor.
kj::UnixEventPort& unused_port() {
  static kj::UnixEventPort port;
  return port;
}

}  // namespace

ClientLoop::ClientLoop(World& world, Process& process)
    : io_{kj::Own<kj::LowLevelAsyncIoProvider>(), kj::heap<Provider>(process), world.scope,
          unused_port()},
      loop_(io_, kExchange, world.trust) {}

kj::Promise<wire::ResourceManager::Client> ClientLoop::manager() {
  return loop_.connect(kManagerAddress)
      .then([this](Result<kj::Own<client::Connection>> connection) {
        if (!connection) {
          kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, kj::str(connection.error().what())));
        }
        connection_ = kj::mv(*connection);
        return connection_->bootstrap().castAs<wire::ResourceManager>();
      });
}

Client::Client(World& world, std::string name, base::NodeIdentity node, std::uint32_t uid)
    : world_(world), name_(std::move(name)), node_(std::move(node)), uid_(uid) {}

Client::~Client() noexcept(false) {
  kill();
}

void Client::start() {
  if (process_ != nullptr) return;
  process_ = &world_.new_process(name_, name_, uid_);
  loop_ = std::make_unique<ClientLoop>(world_, *process_);
  life_ = live().eagerlyEvaluate([this](kj::Exception&& exception) {
    world_.broken(name_ + " ended: " + exception.getDescription().cStr());
  });
}

void Client::kill() {
  if (process_ == nullptr) return;
  process_->kill();
  life_ = nullptr;
  claims_.clear();
  loop_ = nullptr;
  process_ = nullptr;
}

std::vector<Client::Share> Client::shares() const {
  std::vector<Share> shares;
  for (const client::Claimed& claim : claims_) {
    const Grant& grant = claim.share.grant;
    shares.push_back({grant.lease_id, grant.part, grant.node_name, claim.share.state->lost()});
  }
  return shares;
}

kj::Promise<void> Client::live() {
  return process_->timer()
      .afterDelay(manager::to_kj(world_.dice.between(20ms, 6000ms)))
      .then([this]() -> kj::Promise<void> {
        if (resting_) return kj::READY_NOW;
        return lease();
      })
      .then([this] { return live(); });
}

LeaseRequest Client::make_request() {
  LeaseRequest request;
  request.cores = 1 + world_.dice.pick(world_.dice.one_in(8) ? 12 : 3);
  request.parts = world_.dice.one_in(4) ? 1 + world_.dice.pick(4) : 1;
  request.cores_per_worker = world_.dice.one_in(6) ? 2 : 1;
  request.gpus_per_worker = world_.dice.one_in(5) ? 1 : 0;
  request.memory_bytes = std::uint64_t{64} << 20;
  request.duration = std::chrono::seconds(world_.dice.one_in(2) ? 1 + world_.dice.pick(15)
                                                                : 40 + world_.dice.pick(60));
  request.placement = static_cast<Placement>(world_.dice.pick(3));
  if (world_.dice.one_in(3)) request.wait = std::chrono::milliseconds(world_.dice.pick(15'000));
  request.priority = -static_cast<std::int32_t>(world_.dice.pick(3));
  request.holders.assign(request.parts, key_.public_key());
  return request;
}

kj::Promise<void> Client::lease() {
  const bool patient = world_.dice.one_in(5);
  const LeaseRequest request = make_request();
  auto waiting = world_.wait_for(name_ + " asks for a lease", kPatience + request.wait);
  return lease_and_claim(request, patient)
      .catch_([](kj::Exception&& exception) -> Result<Claims> {
        return fail(ErrorKind::kDisconnected, exception.getDescription().cStr());
      })
      .attach(kj::mv(waiting))
      .then([this](Result<Claims>&& claims) -> kj::Promise<void> {
        if (!claims) {
          world_.note(name_ + " has no lease: " + claims.error().what());
          return kj::READY_NOW;
        }
        ++leases_;
        claims_ = std::move(*claims);
        return hold(world_.dice.between(50ms, 10'000ms)).then([this] { give_back(); });
      });
}

/// One that is patient waits for the resource manager without a deadline of its own.
kj::Promise<Result<Client::Claims>> Client::lease_and_claim(const LeaseRequest& request,
                                                            bool patient) {
  const auto in_time = [this](kj::Promise<Result<Claims>> doing, std::chrono::milliseconds more) {
    auto late =
        wire::after_running(process_->timer(), kExchange + more).then([]() -> Result<Claims> {
          return fail(ErrorKind::kDisconnected, "no answer in time");
        });
    return doing.exclusiveJoin(kj::mv(late));
  };
  auto leased =
      loop_->manager()
          .then([this, request](wire::ResourceManager::Client manager) {
            return wire::ask_lease(manager, request, node_.id, "user@" + node_.name);
          })
          .then([this, in_time](Result<wire::Granted> granted) -> kj::Promise<Result<Claims>> {
            if (!granted) return Result<Claims>(tl::unexpected<Error>(granted.error()));
            return in_time(claim(kj::mv(*granted)), 0ms);
          });
  if (patient) return leased;
  return in_time(kj::mv(leased), request.wait);
}

kj::Promise<Result<Client::Claims>> Client::claim(wire::Granted granted) {
  world_.note(name_ + " is granted lease " +
              std::to_string(granted.grants.empty() ? 0 : granted.grants.front().lease_id));
  // Forgets to claim, for a while or for too long; not in the calm, whose end would find it so.
  if (world_.dice.one_in(12) && !resting_) {
    return process_->timer()
        .afterDelay(manager::to_kj(world_.dice.between(100ms, 8000ms)))
        .then([]() -> Result<Claims> { return fail(ErrorKind::kInvalid, "it forgot to claim"); })
        .attach(kj::heap(kj::mv(granted.handles)));
  }
  const client::ClientNode who{node_, "tcp", nullptr, false, &key_};
  return client::claim_all(**loop_, granted.grants, who, std::make_shared<client::LeaseEvents>())
      .attach(kj::heap(kj::mv(granted.handles)));
}

kj::Promise<void> Client::hold(std::chrono::nanoseconds time) {
  if (releasing_ || (time <= 0ns && !resting_)) return kj::READY_NOW;
  kj::Promise<void> deed = kj::READY_NOW;
  if (world_.dice.one_in(40)) deed = extend();
  if (world_.dice.one_in(100)) deed = claim_again();
  return deed.then([this] { return process_->timer().afterDelay(manager::to_kj(kLook)); })
      .then([this, left = time - kLook] { return hold(left); });
}

kj::Promise<void> Client::extend() {
  const Grant grant = claims_.front().share.grant;
  auto waiting = world_.wait_for(name_ + " asks for more time", kPatience);
  return loop_->manager()
      .then([grant](wire::ResourceManager::Client manager) {
        return wire::ask_extension(manager, grant, 5s);
      })
      .ignoreResult()
      .exclusiveJoin(wire::after_running(process_->timer(), kExchange))
      .catch_([](kj::Exception&&) {})
      .attach(kj::mv(waiting));
}

/// A grant is claimed once: with whatever right, by whomever.
kj::Promise<void> Client::claim_again() {
  const Grant grant = claims_.front().share.grant;
  auto waiting = world_.wait_for(name_ + " claims once more", kPatience);
  auto again = client::claim_grant(**loop_, grant, {node_, "tcp", nullptr, false, &key_},
                                   std::make_shared<client::LeaseEvents>());
  return again
      .then([this, grant](Result<client::Claimed> claimed) {
        if (!claimed) return;
        world_.broken("lease " + std::to_string(grant.lease_id) + " is claimed twice");
      })
      .exclusiveJoin(wire::after_running(process_->timer(), kExchange))
      .catch_([](kj::Exception&&) {})
      .attach(kj::mv(waiting));
}

void Client::give_back() {
  world_.note(name_ + " gives back");
  for (client::Claimed& claim : claims_) claim.share.state->release();
  claims_.clear();
}

}  // namespace sublet::sim
