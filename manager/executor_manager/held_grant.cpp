#include <base/log.hpp>
#include <common/async.hpp>
#include <executor_manager/held_grant.hpp>

#include <sodium.h>

#include <algorithm>
#include <cstring>

namespace sublet::manager {
namespace {

/// Executors that die before they are up, one after the other: then the node cannot run this grant.
constexpr unsigned kMaxEarlyDeaths = 3;

/// Fates kept for clients that ask late.
constexpr std::size_t kMaxFates = 64;

/// Beside the functions' own memory: the executor's, and pages of the client's arena that a worker
/// is the first to touch.
constexpr std::uint64_t kExecutorOverhead = std::uint64_t{64} << 20;

/// Timers count nanoseconds; a lease that ends later than this is armed for this.
constexpr milliseconds kLongestTimer = std::chrono::hours(20 * 365 * 24);

std::string random_name() {
  std::array<unsigned char, 16> bytes{};
  randombytes_buf(bytes.data(), bytes.size());
  std::array<char, 2 * bytes.size() + 1> hex{};
  sodium_bin2hex(hex.data(), hex.size(), bytes.data(), bytes.size());
  return std::string("sublet-executor-") + hex.data();
}

std::uint64_t sum_or_most(std::uint64_t a, std::uint64_t b) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 62;
  return a > kMost - std::min(b, kMost) ? kMost : a + b;
}

void add(UsageRecord& to, const Usage& from) {
  to.invocations += from.invocations;
  to.compute_ns += from.compute_ns;
  to.hot_poll_ns += from.hot_poll_ns;
  to.bytes_in += from.bytes_in;
  to.bytes_out += from.bytes_out;
}

}  // namespace

HeldGrant::HeldGrant(NodeServices& services, GrantTerms terms,
                     CoreInventory::Reservation reservation, std::vector<std::string> cpusets,
                     OnEnded on_ended)
    : services_(services),
      terms_(std::move(terms)),
      reservation_(std::move(reservation)),
      cpusets_(std::move(cpusets)),
      on_ended_(std::move(on_ended)),
      held_since_(services.clock.now()),
      tasks_(*this) {}

Result<void> HeldGrant::start() {
  if (auto started = start_executor(); !started) return started;
  tasks_.add(services_.executors.timer.afterDelay(to_kj(wire::kClaimTimeout)).then([this] {
    if (state_ == State::kGranted) end("nobody claimed it in time", false);
  }));
  arm_expiry();
  return {};
}

Result<void> HeldGrant::start_executor() {
  ExecutorOrder order;
  order.data_socket = random_name();
  order.cgroup_bytes =
      sum_or_most(sum_or_most(terms_.memory_bytes, terms_.arena_bytes), kExecutorOverhead);
  wire::Spawn& spawn = order.spawn;
  spawn.lease_id = static_cast<std::uint64_t>(terms_.key.lease);
  spawn.part = terms_.key.part;
  spawn.generation = generation_ + 1;
  spawn.workers = static_cast<std::uint32_t>(cpusets_.size());
  spawn.slots = terms_.slots;
  spawn.memory_bytes = terms_.memory_bytes;
  // The client rounds its arena up to huge pages.
  spawn.max_arena_bytes = sum_or_most(terms_.arena_bytes, std::uint64_t{2} << 20);
  spawn.hot_timeout_ms = terms_.hot_timeout_ms;
  spawn.uid = services_.uid;
  spawn.gid = services_.gid;
  std::memcpy(spawn.token.data(), terms_.token.data(), spawn.token.size());
  std::string cpusets;
  for (const std::string& cpuset : cpusets_) cpusets += (cpusets.empty() ? "" : ";") + cpuset;
  if (cpusets.size() >= spawn.cpusets.size()) {
    return fail(ErrorKind::kInvalid, "the names of " + std::to_string(cpusets_.size()) +
                                         " cores do not fit the order for an executor");
  }
  wire::set_text(spawn.cpusets, cpusets);

  data_socket_ = order.data_socket;
  auto executor = Executor::start(services_.executors, std::move(order));
  if (!executor) return tl::unexpected<Error>(executor.error());
  const std::uint32_t generation = ++generation_;
  tasks_.add((*executor)->ended().then(
      [this, generation](std::string fate) { executor_ended(generation, std::move(fate)); }));
  executor_ = kj::mv(*executor);
  tasks_.add(bring_up(generation));
  return {};
}

kj::Promise<void> HeldGrant::bring_up(std::uint32_t generation) {
  KJ_IF_MAYBE (executor, executor_) {
    return (*executor)
        ->ready()
        .then([this, generation, self = kj::addRef(**executor)]() mutable {
          // A claim that came before it was ready has seen to that.
          if (network_.generation == generation) return kj::Promise<void>(kj::READY_NOW);
          return listen_again(kj::mv(self), generation, 0);
        })
        .then(
            [this, self = kj::addRef(**executor)]() mutable { return open_again(kj::mv(self), 0); })
        .then([this, generation] {
          if (generation != generation_ || over() || fates_.contains(generation)) return;
          up_generation_ = generation;
          early_deaths_ = 0;
          wake_waiters();
        });
  }
  return kj::READY_NOW;
}

kj::Promise<void> HeldGrant::open_transports(std::vector<std::string> transports,
                                             std::string host) {
  client_host_ = std::move(host);
  transports_ = std::move(transports);
  if (transports_.empty()) return kj::READY_NOW;
  KJ_IF_MAYBE (executor, executor_) {
    return listen_again(kj::addRef(**executor), generation_, 0);
  }
  return kj::READY_NOW;
}

kj::Promise<void> HeldGrant::listen_again(kj::Own<Executor> executor, std::uint32_t generation,
                                          std::size_t at) {
  if (at == 0 && !transports_.empty()) network_ = {generation, {}, {}};
  if (at >= transports_.size() || network_.generation != generation) return kj::READY_NOW;
  auto listening =
      executor->listen(transports_[at], {services_.data_host, services_.rdma_host, client_host_});
  return listening.then([this, executor = kj::mv(executor), generation,
                         at](Result<std::string> address) mutable -> kj::Promise<void> {
    if (network_.generation != generation) return kj::READY_NOW;
    if (address) {
      network_.addresses.emplace_back(transports_[at], std::move(*address));
    } else {
      network_.refusals.push_back("not " + transports_[at] + ": " + address.error().what());
    }
    return listen_again(kj::mv(executor), generation, at + 1);
  });
}

kj::Promise<void> HeldGrant::open_again(kj::Own<Executor> executor, std::size_t at) {
  if (at == functions_.size()) return kj::READY_NOW;
  auto opened = executor->open(functions_[at].open, functions_[at].library->get());
  return opened.then([this, executor = kj::mv(executor), at](Result<void> result) mutable {
    if (!result) {
      base::log().error("lease {}: opening function '{}' again: {}",
                        static_cast<std::uint64_t>(terms_.key.lease),
                        wire::text_of(functions_[at].open.name), result.error().what());
    }
    return open_again(kj::mv(executor), at + 1);
  });
}

void HeldGrant::executor_ended(std::uint32_t generation, std::string fate) {
  KJ_IF_MAYBE (executor, executor_) {
    add(past_usage_, (*executor)->usage());
  }
  executor_ = nullptr;
  const bool was_up = up_generation_ == generation;
  base::log().info("lease {} part {}: executor {} ended: {}",
                   static_cast<std::uint64_t>(terms_.key.lease), terms_.key.part, generation, fate);
  fates_[generation] = fate;
  if (fates_.size() > kMaxFates) fates_.erase(fates_.begin());
  if (over()) {
    finish();
    return;
  }
  if (!drain_reason_.empty()) {
    end(drain_reason_, true);
    return;
  }
  early_deaths_ = was_up ? 0 : early_deaths_ + 1;
  if (early_deaths_ >= kMaxEarlyDeaths || generation_ >= wire::kMaxExecutorRestarts) {
    end("its executors keep ending: the last one because " + fate, true);
  } else if (auto started = start_executor(); !started) {
    end(std::string("no new executor could be started: ") + started.error().what(), true);
  }
  wake_waiters();
}

void HeldGrant::claim(wire::LeaseNotices::Client notices) {
  state_ = State::kClaimed;
  terms_.claimed = true;  // for a resource manager that is told of it again
  notices_ = kj::mv(notices);
}

void HeldGrant::write_endpoint(wire::Endpoint::Builder to) const {
  to.setGeneration(generation_);
  const bool known = network_.generation == generation_;
  const std::size_t count = known ? network_.addresses.size() : 0;
  to.setLocal(data_socket_);
  auto addresses = to.initAddresses(static_cast<unsigned>(count));
  for (unsigned i = 0; i < count; ++i) {
    addresses[i].setTransport(network_.addresses[i].first);
    addresses[i].setAddress(network_.addresses[i].second);
  }
  if (!known) return;
  auto refusals = to.initRefusals(static_cast<unsigned>(network_.refusals.size()));
  for (unsigned i = 0; i < refusals.size(); ++i) refusals.set(i, network_.refusals[i]);
}

kj::Promise<Result<void>> HeldGrant::open(const FunctionRequest& request) {
  KJ_IF_MAYBE (executor, executor_) {
    for (const FunctionRequest& known : functions_) {
      if (known.open.index != request.open.index) continue;
      return Result<void>(
          fail(ErrorKind::kInvalid,
               "function number " + std::to_string(request.open.index) + " is taken already"));
    }
    auto opened = (*executor)->open(request.open, request.library->get());
    const std::uint32_t generation = generation_;
    auto recorded = opened.then([this, request, generation](Result<void> result) -> Result<void> {
      // An executor that was replaced meanwhile has taken the function with it.
      if (result && generation == generation_) functions_.push_back(request);
      if (result && generation != generation_) {
        return fail(ErrorKind::kDisconnected, "the executor was replaced meanwhile; try again");
      }
      return result;
    });
    return within(services_.executors.timer, wire::kLibraryLoad, kj::mv(recorded),
                  "loading a library")
        .catch_([this, generation](kj::Exception&& exception) -> Result<void> {
          // It may never come out of the library's code: the next function needs another executor.
          const std::string text = text_of(exception);
          KJ_IF_MAYBE (stuck, executor_) {
            if (generation == generation_) (*stuck)->abandon(text);
          }
          return fail(ErrorKind::kInvalid, text);
        });
  }
  return Result<void>(fail(ErrorKind::kDisconnected, over() ? end_reason_ : "no executor runs"));
}

kj::Promise<Result<void>> HeldGrant::replacement(std::uint32_t generation) {
  if (over()) {
    return Result<void>(fail(ErrorKind::kDisconnected, "the lease has ended: " + end_reason_));
  }
  if (up_generation_ > generation) return Result<void>();
  auto paf = kj::newPromiseAndFulfiller<void>();
  waiting_for_up_.push_back({generation, kj::mv(paf.fulfiller)});
  return paf.promise.then([this, generation] { return replacement(generation); });
}

kj::Promise<std::string> HeldGrant::fate(std::uint32_t generation) {
  if (const auto known = fates_.find(generation); known != fates_.end()) return known->second;
  // While it ends its executor still runs: the client takes an answer to mean that it does not.
  if (state_ == State::kEnded) return "the lease has ended: " + end_reason_;
  if (generation == 0 || generation > generation_ ||
      (!fates_.empty() && generation < fates_.begin()->first)) {
    return std::string("nothing is known of it");
  }
  auto paf = kj::newPromiseAndFulfiller<void>();
  waiting_for_fate_.push_back({generation, kj::mv(paf.fulfiller)});
  return paf.promise.then([this, generation] { return fate(generation); });
}

void HeldGrant::wake_waiters() {
  // They look for themselves and wait again when it is not their turn.
  for (auto* waiting : {&waiting_for_up_, &waiting_for_fate_}) {
    auto all = std::move(*waiting);
    waiting->clear();
    for (Waiter& waiter : all) waiter.fulfiller->fulfill();
  }
}

Result<void> HeldGrant::extend(Time expires) {
  if (over()) return fail(ErrorKind::kInvalid, "the lease has ended: " + end_reason_);
  terms_.expires = expires;
  arm_expiry();
  return {};
}

void HeldGrant::arm_expiry() {
  const std::uint64_t arming = ++expiry_arming_;
  const auto left =
      std::clamp(terms_.expires - services_.clock.now(), milliseconds(0), kLongestTimer);
  const auto notice = std::min<milliseconds>(wire::kEndingNotice, left / 2);
  tasks_.add(
      services_.executors.timer.afterDelay(to_kj(left - notice))
          .then([this, arming, notice] {
            // A timer that fires a moment early is armed again: the client has been told then.
            if (arming != expiry_arming_ || over() || told_expiry_ == terms_.expires) return;
            told_expiry_ = terms_.expires;
            tasks_.add(tell_ending(notice, "the lease expires", false));
          })
          .then([this, notice] { return services_.executors.timer.afterDelay(to_kj(notice)); })
          .then([this, arming] {
            if (arming != expiry_arming_) return;
            if (services_.clock.now() < terms_.expires) {
              arm_expiry();
            } else {
              end("the lease expired", true);
            }
          }));
}

kj::Promise<void> HeldGrant::tell_ending(milliseconds left, const std::string& reason,
                                         bool leaving) {
  KJ_IF_MAYBE (notices, notices_) {
    auto request = notices->endingRequest();
    request.setLeftMs(static_cast<std::uint64_t>(left.count()));
    request.setReason(reason);
    request.setLeaving(leaving);
    return request.send().ignoreResult();
  }
  return kj::READY_NOW;
}

void HeldGrant::drain(const std::string& reason, milliseconds left) {
  if (over() || !drain_reason_.empty()) return;
  if (state_ == State::kGranted || left.count() <= 0) {
    end(reason, true);
    return;
  }
  drain_reason_ = reason;
  base::log().info("lease {} part {} drains: {}", static_cast<std::uint64_t>(terms_.key.lease),
                   terms_.key.part, reason);
  kj::Timer& timer = services_.executors.timer;
  tasks_.add(tell_ending(left, reason, true)
                 .catch_([this](kj::Exception&& exception) { taskFailed(kj::mv(exception)); })
                 .exclusiveJoin(timer.afterDelay(to_kj(wire::kDrainTold)))
                 .then([this] {
                   KJ_IF_MAYBE (executor, executor_) {
                     if (!over()) (*executor)->drain();
                   }
                 }));
  tasks_.add(timer.afterDelay(to_kj(left)).then([this, reason] {
    end(reason + "; its time to drain is over", true);
  }));
}

void HeldGrant::end(const std::string& reason, bool tell_client) {
  if (over()) return;
  state_ = State::kEnding;
  end_reason_ = reason;
  base::log().info("lease {} part {} ends: {}", static_cast<std::uint64_t>(terms_.key.lease),
                   terms_.key.part, reason);
  KJ_IF_MAYBE (notices, notices_) {
    if (tell_client) {
      auto request = notices->lostRequest();
      request.setReason(reason);
      tasks_.add(request.send().ignoreResult());
    }
  }
  wake_waiters();
  bool running = false;
  KJ_IF_MAYBE (executor, executor_) {
    running = true;
    (*executor)->stop();
  }
  if (!running) finish();
}

kj::Promise<void> HeldGrant::gone() {
  if (state_ == State::kEnded) return kj::READY_NOW;
  auto paf = kj::newPromiseAndFulfiller<void>();
  waiting_for_end_.push_back({0, kj::mv(paf.fulfiller)});
  return kj::mv(paf.promise);
}

void HeldGrant::finish() {
  if (state_ == State::kEnded) return;
  const UsageRecord used = usage();
  state_ = State::kEnded;
  wake_waiters();
  past_usage_ = used;
  reservation_ = {};
  on_ended_(*this, end_reason_);
  for (Waiter& waiter : waiting_for_end_) waiter.fulfiller->fulfill();
  waiting_for_end_.clear();
}

UsageRecord HeldGrant::usage() const {
  if (state_ == State::kEnded) return past_usage_;
  UsageRecord sum = past_usage_;
  KJ_IF_MAYBE (executor, executor_) {
    add(sum, (*executor)->usage());
  }
  const auto held = services_.clock.now() - held_since_;
  sum.core_ms =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, held.count())) * cpusets_.size();
  return sum;
}

void HeldGrant::taskFailed(kj::Exception&& exception) {
  base::log().debug("lease {}: {}", static_cast<std::uint64_t>(terms_.key.lease),
                    text_of(exception));
}

}  // namespace sublet::manager
