#include <base/log.hpp>
#include <base/uncancelled.hpp>
#include <client/worker_link_datapath.hpp>
#include <client/workers.hpp>

#include <algorithm>
#include <exception>
#include <thread>
#include <utility>

namespace sublet::client {
namespace {

using namespace std::chrono_literals;

/// How often an idempotent call is lost before it ends: twice when it was the one that ran. It may
/// itself be what ends executors, and each end costs the calls that run beside it.
constexpr std::uint8_t kMostLosses = 2 * PendingCall::kLostWhileFirst;

/// How often a lease whose workers are not all settled is looked after while it is used.
constexpr auto kAttendAgain = 100us;

/// The first and the longest time after which a call that waits for other calls looks at all of
/// them: less and less often while nothing happens.
constexpr auto kFirstSlice = 20us;
constexpr auto kLastSlice = 5ms;

/// How long the end of a released lease's executors is waited for: their manager stops them, or
/// kills them after wire::kExecutorStop.
constexpr auto kCloseMost = 3s;
constexpr auto kCloseLook = 200us;

}  // namespace

Workers::Workers(std::shared_ptr<LeaseEvents> events, std::shared_ptr<transport::Arena> arena,
                 TraceBuffer* trace, const Functions& functions, Options options)
    : events_(std::move(events)),
      staging_(std::move(arena)),
      trace_(trace),
      functions_(functions),
      options_(options) {}

Workers::~Workers() {
  stop("the lease was released");
  close();
}

std::unique_ptr<WorkerLink> Workers::make_link(std::shared_ptr<const NodeShare> share,
                                               std::uint32_t index, std::uint32_t worker_on_node) {
  return std::make_unique<WorkerLink>(std::move(share), index, worker_on_node, staging_, trace_,
                                      continuations_, static_cast<CallSink&>(*this));
}

void Workers::replace(std::unique_ptr<WorkerLink> link) {
  links_[link->index()] = std::move(link);
}

void Workers::reserve_calls() {
  std::size_t slots = 0;
  for (const auto& link : links_) slots += link->share()->grant.slots;
  while (pool_.size() < slots) pool_.push_back(&pool_storage_.emplace_back());
  continuations_.reserve(slots);
}

// ---- The ends of calls ----

void Workers::ended_badly(PendingCall& call) noexcept {
  const bool dying = call.state == CallState::kDying;
  if (dying && call.reply.status == Status::kLost && call.idempotent && !stopped_ &&
      call.attempts + 1 < kMostLosses) {
    ++call.attempts;
    run_again(call);
    return;
  }
  if (dying) call.on(CallEvent::kSettled);
  note_failure(call);
  if (call.then) continuations_.push_back(&call);
}

void Workers::run_again(PendingCall& call) noexcept {
  call.reply = Reply{};
  call.on(CallEvent::kRunAgain);
  queue_.push_front(call);
  events_->stay_attentive();
}

void Workers::refuse(PendingCall& call, Status status, const std::string& text) noexcept {
  call.on(CallEvent::kRefused);
  std::string why = text;
  if (call.attempts != 0) {
    // It ran once, in vain: that is how it ended.
    why = call.error + "; and it could not be run again: " + text;
    status = Status::kLost;
  }
  call.reply = Reply{};
  call.reply.status = status;
  call.error = std::move(why);
  note_failure(call);
  if (call.then) continuations_.push_back(&call);
}

void Workers::note_failure(PendingCall& call) noexcept {
  const std::string& name = functions_.name(call.function);
  // Once: the text that the caller reads names the function whoever wrote it.
  if (call.error.find("'" + name + "'") == std::string::npos) {
    std::string text = "call of '" + name + "': " + to_string(call.reply.status);
    if (call.reply.status == Status::kOutputTooLarge) {
      text += ": the result has " + std::to_string(call.reply.size) + " bytes, the output holds " +
              std::to_string(call.out_capacity);
    }
    call.error = call.error.empty() ? text : text + ": " + call.error;
  }
  last_error_ = call.error;
}

void Workers::hand_over(PendingCall* call, std::function<void(const Reply&)> then) {
  const Turn turn(*this);
  call->then = std::move(then);
  ++handed_over_;
  if (call->state == CallState::kEnded) continuations_.push_back(call);
}

void Workers::run_continuations() noexcept {
  // A continuation may start calls and end others: take the list first.
  std::vector<PendingCall*> ended;
  ended.swap(continuations_);
  for (PendingCall* call : ended) {
    const auto then = std::move(call->then);
    const Reply reply = call->reply;
    recycle(call);
    --handed_over_;
    try {
      then(reply);
    } catch (const std::exception& error) {
      base::log().error("a continuation threw: {}", error.what());
    } catch (...) {
      base::log().error("a continuation threw something that is no std::exception");
    }
  }
}

// ---- Waiting ----

bool Workers::wait_long(PendingCall& call, base::Deadline deadline) noexcept {
  const base::Uncancelled uncancelled;
  std::chrono::nanoseconds slice = kFirstSlice;
  for (;;) {
    if (events_->attention()) attend();
    pump();
    if (call.state == CallState::kEnded) return true;
    if (deadline.passed()) return false;
    wait_a_little(call, deadline, slice);
    if (call.state == CallState::kEnded) return true;
    look_around();
    slice = std::min<std::chrono::nanoseconds>(2 * slice, kLastSlice);
  }
}

void Workers::wait_a_little(PendingCall& call, base::Deadline deadline,
                            std::chrono::nanoseconds slice) noexcept {
  const auto until = deadline.or_earlier(base::Deadline::after(slice));
  if (call.state == CallState::kSubmitted && call.link->listening()) {
    (void)call.link->wait(call, until);
    return;
  }
  for (const auto& link : links_) {
    if (link->listening() && link->wait_oldest(until)) return;
  }
  events_->wait(std::min<std::chrono::nanoseconds>(until.left(), 1ms));
  events_->stay_attentive();
}

bool Workers::settled() const noexcept {
  return queue_.empty() && handed_over_ == 0 &&
         std::none_of(links_.begin(), links_.end(), [](const auto& link) { return link->busy(); });
}

bool Workers::wait_all(base::Deadline deadline) noexcept {
  const Turn turn(*this);
  std::chrono::nanoseconds slice = kFirstSlice;
  for (;;) {
    progress();
    if (settled()) return true;
    if (deadline.passed()) return false;
    if (!continuations_.empty()) continue;
    PendingCall none;  // stands for all of them
    wait_a_little(none, deadline, slice);
    look_around();
    slice = std::min<std::chrono::nanoseconds>(2 * slice, kLastSlice);
  }
}

// ---- Looking after the workers ----

void Workers::look_around() noexcept {
  const base::Ticks now = base::ticks();
  if (now - looked_at_ < base::TickRate::get().from(transport::tuning::kPeerCheck)) return;
  looked_at_ = now;
  const base::Uncancelled uncancelled;
  for (const auto& link : links_) {
    if (link->busy() && !link->check_peer()) events_->stay_attentive();
  }
}

void Workers::attend() noexcept {
  const Turn turn(*this);
  if (base::fork_generation() != generation_) {
    disown();
    return;
  }
  const base::Ticks now = base::ticks();
  if (now < attend_at_ || stopped_) return;
  const base::Uncancelled uncancelled;
  events_->take_attention();
  notice_ends(now);
  if (mend_) mend_(now);
  pump();
  fail_queue_in_vain(now);
  const bool well = std::all_of(links_.begin(), links_.end(), [&](const auto& link) {
    return link->up() || (link->down() && !may_come_up(*link));
  });
  if (well) return;
  attend_at_ = now + base::TickRate::get().from(kAttendAgain);
  events_->stay_attentive();
}

void Workers::notice_ends(base::Ticks now) noexcept {
  for (const auto& link : links_) {
    if (link->executor_has_ended()) link->begin_ending();
  }
  // Executors of several workers end as a whole.
  for (const auto& link : links_) {
    if (!link->ending()) continue;
    for (const auto& other : links_) {
      if (other->share() == link->share() && other->generation() == link->generation()) {
        other->begin_ending();
      }
    }
  }
  for (const auto& link : links_) {
    if (link->ending()) (void)link->settle(now);
    if (!link->share()->state->departed()) {
      link->stay();
      continue;
    }
    link->retire();
    if (!link->retiring()) continue;
    link->progress();
    if (link->retiring() && !link->busy()) link->leave();
  }
}

bool Workers::may_come_up(const WorkerLink& link) const noexcept {
  const NodeState& state = *link.share()->state;
  if (state.departed()) return options_.replace;
  return !state.lost();
}

void Workers::fail_queue_in_vain(base::Ticks now) noexcept {
  const bool up =
      std::any_of(links_.begin(), links_.end(), [](const auto& link) { return link->up(); });
  if (queue_.empty() || up) {
    no_worker_since_ = 0;
    return;
  }
  if (no_worker_since_ == 0) no_worker_since_ = now;
  const bool hope = std::any_of(links_.begin(), links_.end(), [this](const auto& link) {
    return !link->down() || may_come_up(*link);
  });
  if (hope && now - no_worker_since_ < base::TickRate::get().from(options_.patience)) return;
  std::string why = "no worker is left: ";
  if (hope) {
    const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(options_.patience);
    why = "no worker came up within " + std::to_string(waited.count()) + " ms: ";
  }
  const NodeState& state = *links_.back()->share()->state;
  why += state.lost()      ? state.reason()
         : state.leaving() ? "its node has left"
                           : "its executor died";
  if (!obstacle_.empty()) why += "; " + obstacle_;
  while (PendingCall* call = queue_.pop_front()) refuse(*call, Status::kClosed, why);
}

// ---- The end ----

void Workers::disown() noexcept {
  if (std::exchange(disowned_, true)) return;
  stop(base::kForkedText);
  for (const auto& link : links_) link->disown(base::kForkedText);
  // Continuations are the parent's to run.
  continuations_.clear();
  handed_over_ = 0;
}

void Workers::stop(const std::string& reason) noexcept {
  const Turn turn(*this);
  if (stopped_) return;
  stopped_ = true;
  stop_reason_ = reason;
  while (PendingCall* call = queue_.pop_front()) refuse(*call, Status::kClosed, reason);
}

void Workers::close() noexcept {
  const Turn turn(*this);
  const auto deadline = base::Deadline::after(kCloseMost);
  for (bool all = false; !all;) {
    all = true;
    const bool late = deadline.passed();
    for (const auto& link : links_) all &= link->close(stop_reason_, late);
    if (all) break;
    std::this_thread::sleep_for(kCloseLook);
  }
  // A continuation may start calls: they end at once.
  while (!continuations_.empty()) run_continuations();
}

bool Workers::all_see_arena() const noexcept {
  return std::all_of(links_.begin(), links_.end(),
                     [](const auto& link) { return link->sees_arena(); });
}

}  // namespace sublet::client
