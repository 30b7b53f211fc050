#include <client/claim.hpp>
#include <client/control_plane.hpp>
#include <client/direct_leases.hpp>
#include <wire/limits.hpp>
#include <wire/manager_calls.hpp>
#include <wire/running_time.hpp>

#include <algorithm>
#include <map>

namespace sublet::client {

struct ControlPlane::Manager {
  kj::Own<Connection> connection;  ///< Null when executor managers are asked.
  wire::ResourceManager::Client remote;
  /// Of leases asked for by request(): other processes claim their grants. Dropping a handle ends
  /// what is unclaimed; claimed grants do not need it.
  std::map<std::uint64_t, std::vector<wire::LeaseHandle::Client>> handles{};  ///< By their lease.
  std::string name{};                      ///< "the resource manager at ADDRESS"
  std::unique_ptr<DirectLeases> direct{};  ///< In place of a resource manager.
  std::atomic<bool> gone{false};
  kj::Promise<void> watch = nullptr;

  kj::Promise<Result<wire::Granted>> ask(ControlLoop& loop, const LeaseRequest& wanted,
                                         const base::NodeIdentity& client) {
    if (direct) return direct->ask(loop, wanted, client);
    return wire::ask_lease(remote, wanted, client.id, base::user_at_node(client),
                           base::slurm_job());
  }
};

namespace {

using Claims = std::vector<Claimed>;

/// What is left of how long `request` may wait.
std::chrono::milliseconds wait_left(const LeaseRequest& request,
                                    std::chrono::steady_clock::time_point begin) {
  const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - begin);
  return std::max(std::chrono::milliseconds(0), request.wait - passed);
}

std::vector<std::unique_ptr<NodeLink>> make_links(const std::shared_ptr<ControlThread>& thread,
                                                  Claims claims) {
  std::vector<std::unique_ptr<NodeLink>> links;
  for (Claimed& claim : claims) {
    links.push_back(std::make_unique<NodeLink>(thread, std::move(claim)));
  }
  return links;
}

}  // namespace

ControlPlane::ControlPlane(base::NodeIdentity node, std::string transport, const Timeouts& timeouts,
                           std::shared_ptr<const wire::Trust> trust)
    : node_(std::move(node)),
      transport_(std::move(transport)),
      thread_(std::make_shared<ControlThread>(timeouts, std::move(trust))) {}

const Timeouts& ControlPlane::timeouts() const noexcept {
  return thread_->timeouts();
}

ControlPlane::~ControlPlane() {
  if (manager_ != nullptr) old_managers_.push_back(manager_);
  if (old_managers_.empty()) return;
  (void)thread_->run<bool>("closing a session", [this](ControlLoop&) -> kj::Promise<Result<bool>> {
    for (Manager* manager : old_managers_) delete manager;
    return Result<bool>(true);
  });
}

bool ControlPlane::cores_may_return(std::uint64_t cores) {
  const base::Ticks now = base::ticks();
  const base::Ticks moment = base::TickRate::get().from(kCoresReturn);
  const base::Ticks released = released_at_.load(std::memory_order_relaxed);
  if (released != 0 && now - released < moment) return true;
  if (now - opened_at_ >= moment) return false;
  // More cores than there are will never be free.
  const auto all = nodes();
  if (!all) return false;
  std::uint64_t there = 0;
  for (const NodeInfo& node : *all) there += node.state == "up" ? node.cores : 0;
  return there >= cores;
}

void ControlPlane::set_manager(std::string named, std::string directory) {
  const std::lock_guard lock(mutex_);
  named_ = std::move(named);
  directory_ = std::move(directory);
}

Result<ControlPlane::Manager*> ControlPlane::manager() {
  if (base::fork_generation() != generation_) return fail(ErrorKind::kInvalid, base::kForkedText);
  const std::lock_guard lock(mutex_);
  if (manager_ != nullptr && !manager_->gone.load(std::memory_order_acquire)) return manager_;
  if (!executors_.empty()) return list_executors();
  // What an address file said may be old; an address that somebody named stays.
  wire::ManagerLocation location = location_;
  if (location.address.empty() || !location.file.empty()) {
    auto found = wire::find_manager(named_, directory_);
    if (!found) return tl::unexpected<Error>(std::move(found.error()));
    location = std::move(*found);
  }
  if (location.address.empty()) {
    return fail(ErrorKind::kUnsupported,
                "this session has no resource manager, it can only claim; set SUBLET_MANAGER or "
                "SUBLET_MANAGER_DIR");
  }
  auto connected = connect(location);
  if (!connected) return tl::unexpected<Error>(std::move(connected.error()));
  if (manager_ != nullptr) old_managers_.push_back(manager_);
  manager_ = *connected;
  location_ = std::move(location);
  return manager_;
}

Result<ControlPlane::Manager*> ControlPlane::list_executors() {
  auto executors = read_executors(executors_);
  if (!executors) return tl::unexpected<Error>(std::move(executors.error()));
  auto listed = thread_->run<Manager*>(
      "reading SUBLET_EXECUTORS", [&](ControlLoop&) -> kj::Promise<Result<Manager*>> {
        auto* manager = new Manager{kj::Own<Connection>(), nullptr};
        manager->name = "the executor managers of SUBLET_EXECUTORS";
        manager->direct = std::make_unique<DirectLeases>(std::move(*executors));
        return Result<Manager*>(manager);
      });
  if (listed) manager_ = *listed;
  return listed;
}

Result<void> ControlPlane::connect_manager(const wire::ManagerLocation& location) {
  const std::lock_guard lock(mutex_);
  auto connected = connect(location);
  if (!connected) return tl::unexpected<Error>(std::move(connected.error()));
  manager_ = *connected;
  location_ = location;
  return {};
}

Result<ControlPlane::Manager*> ControlPlane::connect(const wire::ManagerLocation& location) {
  return thread_->run<Manager*>(
      "asking what listens at " + location.address,
      [&](ControlLoop& loop) -> kj::Promise<Result<Manager*>> {
        return loop.connect(location.address)
            .then([location](
                      Result<kj::Own<Connection>> connection) -> kj::Promise<Result<Manager*>> {
              if (!connection) return Result<Manager*>(tl::unexpected<Error>(connection.error()));
              auto remote = (*connection)->bootstrap().castAs<wire::ResourceManager>();
              auto checked = wire::check_instance(remote, location);
              return checked.then([remote, location,
                                   connection = kj::mv(*connection)]() mutable -> Result<Manager*> {
                auto gone = connection->gone();
                auto* manager = new Manager{kj::mv(connection), remote};
                manager->name = "the resource manager at " + location.address;
                const auto ended = [manager] {
                  manager->gone.store(true, std::memory_order_release);
                };
                manager->watch =
                    gone.then([ended] { ended(); }).eagerlyEvaluate([ended](kj::Exception&&) {
                      ended();
                    });
                return manager;
              });
            });
      });
}

Result<std::vector<Grant>> ControlPlane::request(const LeaseRequest& request) {
  const auto begin = std::chrono::steady_clock::now();
  LeaseRequest wanted = request;
  for (auto pause = kAskAgain;; pause = std::min(2 * pause, kAskLater)) {
    auto granted = request_once(wanted);
    wanted.wait = wait_left(request, begin);
    const bool again =
        !granted && granted.error().kind() == ErrorKind::kDisconnected && wanted.wait.count() > 0;
    if (!again) return granted;
    std::this_thread::sleep_for(pause);
  }
}

Result<std::vector<Grant>> ControlPlane::request_once(const LeaseRequest& wanted) {
  auto manager_here = manager();
  if (!manager_here) return tl::unexpected<Error>(manager_here.error());
  Manager& manager = **manager_here;
  const std::size_t holders = wanted.holders.size();
  if (holders != 0 && holders != wanted.parts) {
    return fail(ErrorKind::kInvalid, "asking for " + std::to_string(wanted.parts) +
                                         " parts with the keys of " + std::to_string(holders) +
                                         " holders; there is one for each part");
  }
  return thread_->run<std::vector<Grant>>(
      "asking " + manager.name + " for a lease", answer_limit(wanted),
      [&](ControlLoop& loop) -> kj::Promise<Result<std::vector<Grant>>> {
        return manager.ask(loop, holders == 0 ? held_here(wanted) : wanted, node_)
            .then([&manager](Result<wire::Granted> granted) -> Result<std::vector<Grant>> {
              if (!granted) return tl::unexpected<Error>(granted.error());
              if (granted->grants.empty()) return std::vector<Grant>();
              manager.handles.insert_or_assign(granted->grants.front().lease_id,
                                               kj::mv(granted->handles));
              return std::move(granted->grants);
            });
      });
}

LeaseRequest ControlPlane::held_here(LeaseRequest wanted) const {
  // More are refused.
  wanted.holders.assign(std::min(wanted.parts, wire::kMaxParts), holder_key());
  return wanted;
}

void ControlPlane::give_back(std::uint64_t lease_id) noexcept {
  const std::lock_guard lock(mutex_);
  if (manager_ == nullptr) return;
  (void)thread_->run<bool>("giving grants back", [&](ControlLoop&) -> kj::Promise<Result<bool>> {
    manager_->handles.erase(lease_id);
    return Result<bool>(true);
  });
}

std::chrono::milliseconds ControlPlane::claim_limit(const Application* application) const {
  const auto more = application == nullptr ? std::chrono::seconds(0) : wire::kLibraryLoad;
  return timeouts().exchange + std::chrono::duration_cast<std::chrono::milliseconds>(more);
}

Result<std::vector<std::unique_ptr<NodeLink>>> ControlPlane::claim(
    std::vector<Grant> grants, std::shared_ptr<LeaseEvents> events) {
  const auto application = this_application();
  if (!application) return tl::unexpected<Error>(application.error());
  auto claims = thread_->run<Claims>(
      "claiming a lease", claim_limit(*application),
      [&](ControlLoop& loop) -> kj::Promise<Result<Claims>> {
        return claim_all(loop, grants, {node_, transport_, *application, false, &key_}, events);
      });
  if (!claims) return tl::unexpected<Error>(claims.error());
  return make_links(thread_, std::move(*claims));
}

std::chrono::milliseconds ControlPlane::answer_limit(const LeaseRequest& wanted) const {
  const auto none = std::chrono::milliseconds(0);
  if (wanted.wait <= none) return timeouts().exchange;
  return timeouts().exchange + kWaitMargin +
         std::min<std::chrono::milliseconds>(wanted.wait, wire::kMaxWait);
}

Result<std::vector<std::unique_ptr<NodeLink>>> ControlPlane::lease(
    const LeaseRequest& request, const std::shared_ptr<LeaseEvents>& events, bool keep) {
  const auto begin = std::chrono::steady_clock::now();
  LeaseRequest wanted = request;
  int attempts = 0;  // that were granted
  for (auto pause = kAskAgain;; pause = std::min(2 * pause, kAskLater)) {
    bool granted = false;
    auto leased = lease_once(wanted, events, keep, granted);
    if (leased) return leased;
    const ErrorKind kind = leased.error().kind();
    wanted.wait = wait_left(request, begin);
    if (granted) {
      const bool lost = kind == ErrorKind::kDenied || kind == ErrorKind::kDisconnected;
      const bool late = std::chrono::steady_clock::now() - begin > answer_limit(request);
      if (!lost || late || ++attempts == kMaxLeaseAttempts) return leased;
    } else if (kind != ErrorKind::kDisconnected || wanted.wait.count() == 0) {
      return leased;
    }
    std::this_thread::sleep_for(pause);
  }
}

Result<std::vector<std::unique_ptr<NodeLink>>> ControlPlane::lease_once(
    const LeaseRequest& wanted, const std::shared_ptr<LeaseEvents>& events, bool keep,
    bool& was_granted) {
  auto manager_here = manager();
  if (!manager_here) return tl::unexpected<Error>(manager_here.error());
  Manager& manager = **manager_here;
  const auto found = this_application();
  if (!found) return tl::unexpected<Error>(found.error());
  const Application* const application = keep ? nullptr : *found;
  const auto limit = answer_limit(wanted);
  std::vector<Grant> grants;
  auto claims = thread_->run<Claims>(
      "asking " + manager.name + " for a lease",
      claim_limit(application) + (limit - timeouts().exchange),
      [&](ControlLoop& loop) -> kj::Promise<Result<Claims>> {
        kj::Promise<Result<wire::Granted>> late = kj::NEVER_DONE;
        if (application != nullptr) {  // the limit of all of it is longer, for that to travel
          late = wire::after_running(loop.timer(), limit)
                     .then([limit, &manager]() -> Result<wire::Granted> {
                       return fail(ErrorKind::kDisconnected,
                                   manager.name + " gave no answer within " +
                                       std::to_string(limit.count()) + " ms");
                     });
        }
        return manager.ask(loop, held_here(wanted), node_)
            .exclusiveJoin(kj::mv(late))
            .then([&](Result<wire::Granted> granted) -> kj::Promise<Result<Claims>> {
              if (!granted) return Result<Claims>(tl::unexpected<Error>(granted.error()));
              grants = std::move(granted->grants);
              was_granted = true;
              auto claimed =
                  claim_all(loop, grants, {node_, transport_, application, keep, &key_}, events);
              return claimed.attach(kj::heap(kj::mv(granted->handles)));
            });
      });
  if (!claims) return tl::unexpected<Error>(claims.error());
  return make_links(thread_, std::move(*claims));
}

Result<std::int64_t> ControlPlane::extend(const Grant& grant, std::chrono::seconds duration) {
  auto manager_here = manager();
  if (!manager_here) return tl::unexpected<Error>(manager_here.error());
  Manager& manager = **manager_here;
  return thread_->run<std::int64_t>("asking " + manager.name + " for more time", [&](ControlLoop&) {
    return wire::ask_extension(manager.remote, grant, duration);
  });
}

Result<std::vector<NodeInfo>> ControlPlane::nodes() {
  auto manager_here = manager();
  if (!manager_here) return tl::unexpected<Error>(manager_here.error());
  Manager& manager = **manager_here;
  return thread_->run<std::vector<NodeInfo>>(
      "asking " + manager.name + " for its nodes", [&](ControlLoop& loop) {
        return manager.direct ? manager.direct->nodes(loop) : wire::ask_nodes(manager.remote);
      });
}

Result<std::vector<LeaseInfo>> ControlPlane::leases() {
  auto manager_here = manager();
  if (!manager_here) return tl::unexpected<Error>(manager_here.error());
  Manager& manager = **manager_here;
  if (manager.direct) {
    return fail(ErrorKind::kUnsupported,
                "executor managers do not list leases; there is no resource manager to ask");
  }
  return thread_->run<std::vector<LeaseInfo>>(
      "asking " + manager.name + " for its leases",
      [&](ControlLoop&) { return wire::ask_leases(manager.remote, false); });
}

}  // namespace sublet::client
