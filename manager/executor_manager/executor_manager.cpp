#include <base/log.hpp>
#include <base/node_identity.hpp>
#include <common/async.hpp>
#include <common/sealing.hpp>
#include <executor_manager/claim_server.hpp>
#include <executor_manager/executor_manager.hpp>
#include <executor_manager/forked_executor.hpp>
#include <executor_manager/node_setup.hpp>
#include <wire/side_thread.hpp>

#include <sodium.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace sublet::manager {
namespace {

/// Grants that are remembered after they have ended, to say so to who comes late.
constexpr std::size_t kMaxEnded = 256;

std::unique_ptr<CoreLocks> make_locks(const ExecutorManagerOptions& options) {
  if (!options.shares_cores) return nullptr;
  return std::make_unique<CoreLocks>(base::runtime_directory());
}

CoreInventory::Exclusion exclusion_by(CoreLocks* locks) {
  if (locks == nullptr) return {};
  return {[locks](const std::string& cpuset) { return locks->lock(cpuset); },
          [locks](const std::string& cpuset) { locks->unlock(cpuset); },
          [locks](const std::string& uuid) { return locks->lock_gpu(uuid); },
          [locks](const std::string& uuid) { locks->unlock_gpu(uuid); }};
}

std::unique_ptr<MemoryLimiter> make_limiter(const ExecutorManagerOptions& options) {
  if (!options.cgroup) return nullptr;
  std::string why;
  auto parent = MemoryCgroupParent::find(why);
  if (parent) return std::make_unique<MemoryLimiter>(std::move(parent));
  base::log().info("memory limits are by rlimit alone: {}", why);
  return nullptr;
}

/// An abstract name: it leaves no file behind, however this process ends.
std::string local_address() {
  std::array<unsigned char, 8> bytes{};
  randombytes_buf(bytes.data(), bytes.size());
  std::array<char, 2 * bytes.size() + 1> hex{};
  sodium_bin2hex(hex.data(), hex.size(), bytes.data(), bytes.size());
  return std::string("unix:@sublet-executor-manager-") + hex.data();
}

}  // namespace

Result<kj::Own<ExecutorManager>> ExecutorManager::start(
    kj::AsyncIoContext& io, ZygoteProcess zygote, const ExecutorManagerOptions& options,
    std::optional<ContainerRuntime> containers) {
  if (::sodium_init() < 0) return fail(ErrorKind::kInternal, "libsodium does not initialise");
  // An address file may name a manager on another node by the time it is there.
  bool remote = options.manager.address.empty() || options.skip_resource_manager;
  if (!remote) {
    auto address = wire::Address::parse(options.manager.address);
    if (!address) return tl::unexpected<Error>(address.error());
    remote = address->kind == wire::Address::Kind::kTcp;
  }
  auto user = find_user(options.executor_user);
  if (!user) return tl::unexpected<Error>(user.error());
  std::string cpuset;
  auto offer = make_offer(options, cpuset);
  if (!offer) return tl::unexpected<Error>(offer.error());

  NodeOffer node;
  const auto identity = base::node_identity(options.node_name);
  node.name = identity.name;
  node.node_id = identity.id;
  node.cpuset = cpuset;
  kj::Timer& timer = io.provider->getTimer();
  auto executors = std::make_unique<ForkedExecutors>(
      io.unixEventPort, timer, std::move(zygote), make_limiter(options),
      containers ? std::make_unique<ContainerRuntime>(std::move(*containers)) : nullptr);
  ForkedExecutors& processes = *executors;
  auto manager = kj::heap<ExecutorManager>(
      NodeWorld{io.provider->getNetwork(), timer, std::move(executors), options.clock},
      std::move(node), std::move(*offer), options);
  manager->services_.uid = user->uid;
  manager->services_.gid = user->gid;
  manager->services_.as_owner =
      ::geteuid() == 0 && options.executor_user.empty() && !options.executor_users.any();
  processes.on_spares([&link = manager->link_](std::uint32_t count) {
    if (link) link->warm(count);
  });
  processes.allow_spares(options.warm_executors);
  std::vector<std::string> listen = options.listen;
  if (listen.empty()) {
    listen.push_back(local_address());
    // Who reaches the resource manager from other nodes must reach this one too.
    if (remote) listen.emplace_back("tcp:*:0");
  }
  if (auto listening = manager->listen(io, listen); !listening) {
    return tl::unexpected<Error>(listening.error());
  }
  if (options.skip_resource_manager) return kj::mv(manager);
  manager->join(
      [location = options.manager, directory = options.manager_directory,
       reader = wire::SideThread()]() mutable -> kj::Promise<Result<wire::ManagerLocation>> {
        if (!location.address.empty()) return Result<wire::ManagerLocation>(location);
        return reader.run<Result<wire::ManagerLocation>>(
            [directory] { return wire::find_manager({}, directory); });
      });
  return kj::mv(manager);
}

ExecutorManager::ExecutorManager(NodeWorld world, NodeOffer node, CoreInventory::Offer offer,
                                 const ExecutorManagerOptions& options)
    : world_(std::move(world)),
      connections_(std::make_shared<ServedConnections>(50, options.trust)),
      core_locks_(make_locks(options)),
      inventory_(std::move(offer), exclusion_by(core_locks_.get())),
      libraries_(std::move(world_.library_thread)),
      services_{{world_.timer, *world_.executors}, libraries_, world_.clock},
      offer_(std::move(node)),
      advertise_(options.advertise),
      direct_(*this, options),
      takes_orders_to_leave_(options.takes_orders_to_leave),
      refused_limit_(options.refused_limit),
      tasks_(*this) {
  offer_.cores = inventory_.cores();
  offer_.widest_worker = inventory_.widest_worker();
  offer_.memory_bytes = inventory_.memory_bytes();
  offer_.gpus = inventory_.gpus();
  offer_.key = key_.public_key();
  services_.stack_bytes = options.stack_bytes;
  services_.core_directory = options.core_directory;
  services_.data_host = options.data_host;
  services_.rdma_host = options.rdma_host;
  services_.images = options.images;
  services_.users = options.executor_users;
  services_.hidden = options.hide_executors && options.core_directory.empty();
}

void ExecutorManager::join(ResourceManagerLink::Locate locate) {
  link_ = std::make_unique<ResourceManagerLink>(*this, world_.network, world_.timer,
                                                std::move(locate), refused_limit_);
}

ExecutorManager::~ExecutorManager() noexcept(false) {
  for (auto& [key, grant] : grants_) grant->drop();
}

void ExecutorManager::add_alarms(Alarms& alarms) {
  constexpr std::uint64_t kFull = wire::kMaxCachedBytes / 10 * 9;
  alarms.add(descriptors_alarm);
  for (auto& listener : listeners_) alarms.add([&listener] { return listener->alarm(); });
  alarms.add([this] {
    return size_alarm("library cache", libraries_.bytes(), kFull,
                      "the least recently used libraries go, and come again with the next lease "
                      "that needs them");
  });
}

Result<void> ExecutorManager::listen(kj::AsyncIoContext& io,
                                     const std::vector<std::string>& addresses) {
  if (addresses.size() > wire::kMaxAddresses) {
    return fail(ErrorKind::kInvalid, "an executor manager listens at " +
                                         std::to_string(wire::kMaxAddresses) +
                                         " addresses at most");
  }
  for (const std::string& text : addresses) {
    auto address = wire::Address::parse(text);
    if (!address) return tl::unexpected<Error>(address.error());
    auto socket = ListeningSocket::open(*address, "executor manager");
    if (!socket) return tl::unexpected<Error>(socket.error());
    offer_.addresses.push_back(socket->address().to_string());
    listeners_.push_back(kj::heap<RpcListener>(
        *io.lowLevelProvider, std::move(*socket),
        [this](std::shared_ptr<Peer> peer) -> capnp::Capability::Client {
          return make_claim_server(*this, std::move(peer));
        },
        connections_));
  }
  return {};
}

Result<void> ExecutorManager::grant(GrantTerms terms, const Issuer& issuer) {
  if (leaving()) {
    return fail(ErrorKind::kOverloaded, "the node is leaving: " + drain_.reason());
  }
  const Key key{terms.key.lease, terms.key.part};
  if (grants_.contains(key)) {
    return fail(ErrorKind::kInvalid, "the node holds a grant of this lease and part already");
  }
  auto reservation = inventory_.reserve(
      {terms.workers, terms.cores_per_worker, terms.gpus_per_worker, terms.memory_bytes});
  if (!reservation) return tl::unexpected<Error>(reservation.error());
  WorkerPlaces places{inventory_.cpusets(*reservation), inventory_.gpus(*reservation)};
  std::size_t shared = 0;
  for (const std::uint32_t core : reservation->cores()) shared += inventory_.shared(core) ? 1 : 0;
  if (shared != 0) {
    base::log().warn(
        "{} of {} cores are used by another job's private manager too, so their workers are not "
        "pinned; give each job cores of its own (SUBLET_PRIVATE_CPUSET)",
        shared, reservation->cores().size());
  }
  auto held = kj::refcounted<HeldGrant>(
      services_, std::move(terms), std::move(*reservation), std::move(places),
      [this](HeldGrant& grant, const std::string& reason) { grant_ended(grant, reason); }, issuer);
  if (auto started = held->start(); !started) return started;
  grants_.emplace(key, kj::mv(held));
  return {};
}

Result<ExecutorManager::Claimed> ExecutorManager::claim(const ClaimAttempt& attempt,
                                                        wire::LeaseNotices::Client notices,
                                                        bool keep) {
  const auto said = wire::read_claims(attempt.sealed);
  if (!said) return tl::unexpected<Error>(said.error());
  HeldGrant* match = find(LeaseId{said->lease}, said->part);
  if (match != nullptr && nonce_of(match->terms().token) != said->nonce) match = nullptr;
  const auto ended = std::find_if(ended_.begin(), ended_.end(),
                                  [&](const Ended& past) { return past.nonce == said->nonce; });
  const bool past = match == nullptr && ended != ended_.end();
  auto checked = check_claim(attempt, offer_.key,
                             match != nullptr ? match->issuer()
                             : past           ? ended->issuer
                                              : issuer_,
                             now());
  if (!checked) return tl::unexpected<Error>(std::move(checked.error()));
  if (past || (match != nullptr && match->over())) {
    return fail(ErrorKind::kDenied,
                "the grant has ended: " + (past ? ended->reason : match->end_reason()));
  }
  if (match == nullptr || !are_of(*checked, match->terms())) {
    return fail(ErrorKind::kDenied,
                "this node holds no such grant: it has other terms, or ended long ago");
  }
  if (auto owner = check_owner(attempt.caller, match->terms()); !owner) {
    return tl::unexpected<Error>(std::move(owner.error()));
  }
  if (match->kept() && !keep) {
    if (auto borrowed = match->borrow(kj::mv(notices)); !borrowed) {
      return tl::unexpected<Error>(std::move(borrowed.error()));
    }
    return Claimed{kj::addRef(*match), true};
  }
  if (match->state() == HeldGrant::State::kClaimed) {
    return fail(ErrorKind::kDenied,
                "the grant has been claimed already; each grant is claimed once");
  }
  match->claim(kj::mv(notices), keep);
  if (link_ && !wire::is_direct(said->lease)) link_->claimed(*match);
  return Claimed{kj::addRef(*match), false};
}

bool ExecutorManager::end_unclaimed(LeaseId lease, std::uint32_t part, const std::string& reason) {
  HeldGrant* const grant = find(lease, part);
  if (grant == nullptr || grant->state() != HeldGrant::State::kGranted) return false;
  grant->end(reason, false);
  return true;
}

DirectUse ExecutorManager::direct_use() const {
  DirectUse use;
  for (const auto& [key, grant] : grants_) {
    if (!wire::is_direct(number(key.first))) continue;
    use.cores += grant->terms().cores();
    use.memory_bytes += grant->terms().memory_bytes;
    use.gpus += grant->terms().gpus();
  }
  return use;
}

HeldGrant* ExecutorManager::find(LeaseId lease, std::uint32_t part) {
  const auto entry = grants_.find({lease, part});
  return entry == grants_.end() ? nullptr : entry->second.get();
}

kj::Promise<bool> ExecutorManager::revoke(LeaseId lease, std::uint32_t part,
                                          const std::string& reason, bool unclaimed_only) {
  HeldGrant* const grant = find(lease, part);
  if (grant == nullptr) return false;
  if (unclaimed_only && grant->state() == HeldGrant::State::kClaimed) return true;
  auto gone = grant->gone();
  grant->end(reason, true);
  return gone.then([] { return false; });
}

Result<void> ExecutorManager::extend(LeaseId lease, std::uint32_t part, Time expires) {
  if (HeldGrant* grant = find(lease, part)) return grant->extend(expires);
  return fail(ErrorKind::kInvalid, "the node holds no grant of that lease");
}

Result<void> ExecutorManager::end_soon(LeaseId lease, std::uint32_t part, milliseconds left,
                                       const std::string& reason) {
  HeldGrant* const grant = find(lease, part);
  return grant == nullptr ? Result<void>() : grant->end_soon(left, reason);
}

std::vector<HeldGrant*> ExecutorManager::held() {
  std::vector<HeldGrant*> held;
  for (auto& [key, grant] : grants_) {
    if (grant->state() != HeldGrant::State::kEnded) held.push_back(grant.get());
  }
  return held;
}

wire::CallTimes ExecutorManager::call_times() const {
  wire::CallTimes sum = past_times_;
  for (const auto& [key, grant] : grants_) {
    if (grant->state() == HeldGrant::State::kEnded || wire::is_direct(number(key.first))) continue;
    sum += grant->executors().call_times();
  }
  return sum;
}

void ExecutorManager::grant_ended(HeldGrant& grant, const std::string& reason) {
  const GrantTerms& terms = grant.terms();
  const bool direct = wire::is_direct(number(terms.key.lease));
  const Usage usage = grant.usage();
  base::log().info("{} has ended: {} core-ms, {} calls", name_of(terms.key),
                   std::llround(usage.core_seconds * 1000), usage.invocations);
  if (!direct) past_times_ += grant.executors().call_times();
  if (link_ && !direct) link_->ended(grant, reason);
  drain_.note(grant);
  const Key key{grant.terms().key.lease, grant.terms().key.part};
  ended_.push_back({nonce_of(terms.token), grant.issuer(), reason});
  if (ended_.size() > kMaxEnded) ended_.pop_front();
  // Not now: the grant is still on the stack.
  tasks_.add(kj::evalLater([this, key] {
    grants_.erase(key);
    if (!grants_.empty()) return;
    drain_.note_empty();
    for (auto& fulfiller : all_gone_) fulfiller->fulfill();
    all_gone_.clear();
  }));
}

kj::Promise<void> ExecutorManager::until_empty() {
  if (grants_.empty()) return kj::READY_NOW;
  auto paf = kj::newPromiseAndFulfiller<void>();
  all_gone_.push_back(kj::mv(paf.fulfiller));
  return kj::mv(paf.promise);
}

void ExecutorManager::drain(const std::string& reason, milliseconds limit, NodeDrain::Origin origin,
                            bool own_notice) {
  if (!drain_.begin(reason, origin)) return;
  if (link_) link_->draining();
  for (auto& [key, grant] : grants_) grant->drain(reason, limit, own_notice);
  if (grants_.empty()) drain_.note_empty();
}

Result<void> ExecutorManager::order_drain(const std::string& reason, milliseconds limit,
                                          bool own_notice) {
  if (!takes_orders_to_leave_) {
    return fail(ErrorKind::kUnsupported,
                "it belongs to a private manager, which ends with its application");
  }
  base::log().info("draining on the resource manager's word: {}", reason);
  drain(reason, limit, NodeDrain::Origin::kOrder, own_notice);
  return {};
}

Result<bool> ExecutorManager::cancel_drain() {
  auto cancelled = drain_.cancel();
  if (!cancelled || !*cancelled) return cancelled;
  base::log().info("the drain is cancelled: the node stays");
  for (auto& [key, grant] : grants_) grant->resume();
  return cancelled;
}

kj::Promise<void> ExecutorManager::stop(const std::string& reason) {
  drain_.leave(reason);
  for (auto& [key, grant] : grants_) grant->cut_off(drain_.reason());
  return until_empty().then([this] { return link_ ? link_->leave() : kj::READY_NOW; });
}

void ExecutorManager::taskFailed(kj::Exception&& exception) {
  base::log().error("executor manager: {}", text_of(exception));
}

}  // namespace sublet::manager
