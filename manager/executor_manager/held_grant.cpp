#include <base/log.hpp>
#include <common/async.hpp>
#include <executor_manager/held_grant.hpp>

#include <algorithm>
#include <utility>

namespace sublet::manager {
namespace {

/// Timers count nanoseconds; a lease that ends later than this is armed for this.
constexpr milliseconds kLongestTimer = std::chrono::hours(20 * 365 * 24);

}  // namespace

HeldGrant::HeldGrant(NodeServices& services, GrantTerms terms,
                     CoreInventory::Reservation reservation, WorkerPlaces places, OnEnded on_ended,
                     Issuer issuer)
    : services_(services),
      terms_(std::move(terms)),
      issuer_(issuer),
      reservation_(std::move(reservation)),
      on_ended_(std::move(on_ended)),
      held_since_(services.clock.now()),
      executors_(services, terms_, std::move(places),
                 {[this](const std::string& why) { end(why, true); }, [this] { finish(); }}),
      tasks_(*this) {}

Result<void> HeldGrant::start() {
  if (auto started = executors_.start(); !started) return started;
  tasks_.add(wire::after_running(services_.executors.timer, wire::kClaimTimeout).then([this] {
    if (state_ == State::kGranted) end("nobody claimed it in time", false);
  }));
  arm_expiry();
  return {};
}

void HeldGrant::claim(wire::LeaseNotices::Client notices, bool keep) {
  state_ = State::kClaimed;
  kept_ = keep;
  terms_.claimed = true;  // for a resource manager that is told of it again
  notices_ = kj::mv(notices);
}

Result<void> HeldGrant::borrow(wire::LeaseNotices::Client notices) {
  if (borrower_ != nullptr || executors_.renewing()) {
    return fail(ErrorKind::kOverloaded,
                name_of(terms_.key) + " is kept for several, and one of them has it just now");
  }
  borrower_ = kj::mv(notices);
  return {};
}

void HeldGrant::give_back() {
  borrower_ = nullptr;
  executors_.renew();
}

// ---- its time ----

Result<void> HeldGrant::extend(Time expires) {
  if (over()) return fail(ErrorKind::kInvalid, "the lease has ended: " + end_reason_);
  if (!soon_.empty()) return fail(ErrorKind::kDenied, "the lease is being ended: " + soon_);
  terms_.expires = expires;
  arm_expiry();
  return {};
}

Result<void> HeldGrant::end_soon(milliseconds left, const std::string& reason) {
  if (over()) return {};
  if (state_ != State::kClaimed) {
    return fail(ErrorKind::kInvalid, "no client has claimed it, who could be told");
  }
  soon_ = reason;
  terms_.expires = std::min(terms_.expires, services_.clock.now() + left);
  arm_expiry();
  return {};
}

void HeldGrant::arm_expiry() {
  expiry_ = until_expiry().eagerlyEvaluate(
      [this](kj::Exception&& exception) { taskFailed(kj::mv(exception)); });
}

/// Tells the client some time before the end, and ends the grant then.
kj::Promise<void> HeldGrant::until_expiry() {
  kj::Timer& timer = services_.executors.timer;
  const auto left =
      std::clamp(terms_.expires - services_.clock.now(), milliseconds(0), kLongestTimer);
  // Some of a short lease is its client's alone; one that ends before its time has been told all.
  const auto notice = soon_.empty() ? std::min(terms_.notice, left / 2) : left;
  return timer.afterDelay(to_kj(left - notice))
      .then([this, notice, &timer] {
        // A timer that fires a moment early begins anew: the client has been told then.
        if (!over() && std::exchange(told_expiry_, terms_.expires) != terms_.expires) {
          tasks_.add(tell_ending(notice, soon_.empty() ? "the lease expires" : soon_, false));
        }
        return timer.afterDelay(to_kj(notice));
      })
      .then([this]() -> kj::Promise<void> {
        if (services_.clock.now() < terms_.expires) return until_expiry();
        end(soon_.empty() ? "the lease expired" : soon_, true);
        return kj::READY_NOW;
      });
}

kj::Promise<void> HeldGrant::tell_ending(milliseconds left, const std::string& reason,
                                         bool leaving) {
  auto told = kj::Vector<kj::Promise<void>>();
  for_clients([&](wire::LeaseNotices::Client& client) {
    auto request = client.endingRequest();
    request.setLeftMs(static_cast<std::uint64_t>(left.count()));
    request.setReason(reason);
    request.setLeaving(leaving);
    told.add(request.send().ignoreResult());
  });
  return kj::joinPromises(told.releaseAsArray());
}

// ---- its end ----

void HeldGrant::drain(const std::string& reason, milliseconds left, bool own_notice) {
  if (over() || draining_) return;
  if (own_notice) left = std::min(left, terms_.notice);
  calls_before_drain_ = executors_.usage().invocations;
  if (state_ == State::kGranted) {
    end(reason, true);
    return;
  }
  if (left.count() <= 0) {
    cut_off(reason);
    return;
  }
  draining_ = true;
  executors_.drain(reason);
  base::log().info("{} drains: {}", name_of(terms_.key), reason);
  kj::Timer& timer = services_.executors.timer;
  // A copy for each: KJ keeps a reference to a handler that has a name.
  const auto failed = [this] {
    return [this](kj::Exception&& exception) { taskFailed(kj::mv(exception)); };
  };
  auto told = tell_ending(left, reason, true)
                  .catch_(failed())
                  .exclusiveJoin(timer.afterDelay(to_kj(wire::kDrainTold)))
                  .then([this] { executors_.let_end_when_idle(); });
  auto late = timer.afterDelay(to_kj(left)).then([this, reason] {
    cut_off(reason + "; its time to drain is over");
  });
  drain_told_ = told.eagerlyEvaluate(failed());
  drain_time_ = late.eagerlyEvaluate(failed());
}

void HeldGrant::resume() {
  if (over() || !draining_) return;
  draining_ = false;
  drain_told_ = nullptr;
  drain_time_ = nullptr;
  executors_.resume();
  base::log().info("{} goes on: its node stays", name_of(terms_.key));
  for_clients([this](wire::LeaseNotices::Client& client) {
    tasks_.add(client.staysRequest().send().ignoreResult());
  });
}

void HeldGrant::cut_off(const std::string& reason) {
  cut_off_ = !over() && state_ == State::kClaimed;
  end(reason, true);
}

HeldGrant::DrainEnd HeldGrant::drain_end() const {
  if (cut_off_) return DrainEnd::kCutOff;
  if (!terms_.claimed) return DrainEnd::kUnclaimed;
  const ExecutorFate* const fate = executors_.last_fate();
  const bool orderly = fate == nullptr || !fate->last_started.empty() || fate->unknown == 0;
  return orderly ? DrainEnd::kInOrder : DrainEnd::kBroken;
}

std::uint64_t HeldGrant::calls_since_drain() const {
  // Functions can write into the counters.
  return std::max(usage().invocations, calls_before_drain_) - calls_before_drain_;
}

void HeldGrant::end(const std::string& reason, bool tell_client) {
  if (over()) return;
  state_ = State::kEnding;
  end_reason_ = reason;
  base::log().info("{} ends: {}", name_of(terms_.key), reason);
  KJ_IF_MAYBE (borrower, borrower_) {  // it is never the borrower who ends it
    auto request = borrower->lostRequest();
    request.setReason(reason);
    tasks_.add(request.send().ignoreResult());
  }
  KJ_IF_MAYBE (notices, notices_) {
    if (tell_client) {
      auto request = notices->lostRequest();
      request.setReason(reason);
      tasks_.add(request.send().ignoreResult());
    }
  }
  executors_.stop(reason);
}

void HeldGrant::drop() noexcept {
  state_ = State::kEnded;
  reservation_ = {};
  executors_.drop();
}

kj::Promise<void> HeldGrant::gone() {
  if (state_ == State::kEnded) return kj::READY_NOW;
  auto paf = kj::newPromiseAndFulfiller<void>();
  waiting_for_end_.push_back(kj::mv(paf.fulfiller));
  return kj::mv(paf.promise);
}

void HeldGrant::finish() {
  final_usage_ = usage();
  state_ = State::kEnded;
  reservation_ = {};
  on_ended_(*this, end_reason_);
  for (auto& fulfiller : std::exchange(waiting_for_end_, {})) fulfiller->fulfill();
}

Usage HeldGrant::usage() const {
  if (state_ == State::kEnded) return final_usage_;
  Usage sum = executors_.usage();
  const auto held = std::max(milliseconds(0), milliseconds(services_.clock.now() - held_since_));
  const double seconds = std::chrono::duration<double>(held).count();
  sum.core_seconds = seconds * static_cast<double>(terms_.cores());
  sum.gpu_seconds = seconds * static_cast<double>(terms_.gpus());
  return sum;
}

void HeldGrant::taskFailed(kj::Exception&& exception) {
  base::log().debug("{}: {}", name_of(terms_.key), text_of(exception));
}

}  // namespace sublet::manager
