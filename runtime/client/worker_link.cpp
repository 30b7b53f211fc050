#include <base/log.hpp>
#include <client/control_thread.hpp>
#include <client/worker_link_datapath.hpp>

#include <cassert>
#include <chrono>
#include <utility>

namespace sublet::client {
namespace {

using namespace std::chrono_literals;

/// How long an executor that said that it is dying is waited for. Most are gone within some
/// milliseconds.
constexpr auto kProcessEnd = 3s;

/// How long its manager is waited for, which says some milliseconds later how the executor ended,
/// if it still runs.
constexpr auto kFateTold = 1s;

bool waited(base::Ticks since, base::Ticks now, std::chrono::nanoseconds limit) noexcept {
  return now > since && now - since > base::TickRate::get().from(limit);
}

}  // namespace

Result<Route> route_to(const NodeShare& share, std::uint32_t worker_on_node,
                       const Timeouts& timeouts) {
  const NodeState& state = *share.state;
  const transport::Endpoint endpoint = state.endpoint();
  auto address = transport::choose(endpoint, share.preference);
  if (!address) {
    return fail(address.error().kind(), "no transport to the executor on node " +
                                            share.grant.node_name + ": " + address.error().what());
  }
  Route route{{}, endpoint.generation};
  transport::Target& target = route.target;
  target.kind = address->kind;
  target.options.address = std::move(address->text);
  target.options.token = endpoint.token;
  target.options.generation = endpoint.generation;
  target.options.believes = share.believes;
  target.options.worker = worker_on_node;
  target.options.slots = share.grant.slots;
  target.options.timeout = timeouts.exchange;
  target.options.peer_timeout = timeouts.peer;
  // An executor in whose memory calls lie is given the time to end.
  const auto grace = transport::reaches_other_nodes(target.kind) ? 0s : kProcessEnd;
  target.options.peer_gone = [held = share.state, generation = endpoint.generation, grace] {
    return held->ended(generation) || held->lost_for(grace);
  };
  return route;
}

Error not_connected(const NodeShare& share, std::uint32_t worker_on_node, const Route& route,
                    const Error& error) {
  std::string why = error.what();
  // An executor that ended while we connected has left word of how.
  const ExecutorFate ended = share.state->fate(route.generation);
  std::string fate = ended.text;
  if (fate.empty() && share.state->lost()) fate = share.state->reason();
  if (!fate.empty()) why += " (" + fate + ")";
  const bool is_programs_fault = ended.kind > ErrorKind::kInternal;
  return Error(is_programs_fault ? ended.kind : error.kind(),
               "connecting to worker " + std::to_string(worker_on_node) + " on node " +
                   share.grant.node_name + " by " + to_string(route.target.kind) + ": " + why);
}

WorkerLink::WorkerLink(std::shared_ptr<const NodeShare> share, std::uint32_t index,
                       std::uint32_t worker_on_node, Staging& staging, TraceBuffer* trace,
                       std::vector<PendingCall*>& continuations, CallSink& sink)
    : share_(std::move(share)),
      index_(index),
      worker_on_node_(worker_on_node),
      staging_(staging),
      trace_(trace),
      continuations_(continuations),
      sink_(sink) {}

WorkerLink::~WorkerLink() {
  assert(dying_.empty());
}

void WorkerLink::take(transport::AnyClientChannel channel, const Route& route) {
  assert(down() && dying_.empty());
  base::log().debug("worker {} of lease {} on node {}: {} at {} ({})", index_,
                    share_->grant.lease_id, share_->grant.node_name, to_string(route.target.kind),
                    route.target.options.address, share_->preference.reasons);
  kind_ = route.target.kind;
  channel_.emplace(std::move(channel));
  generation_ = route.generation;
  left_ = false;
  mask_ = channel_->slots() - 1;
  slots_.assign(channel_->slots(), nullptr);
  next_sequence_ = 1;
  killer_.reset();
  phase_ = Phase::kUp;
}

Status WorkerLink::stage_and_submit(PendingCall& call, bool stage_in, bool stage_out) noexcept {
  if (!poll_oldest()) return Status::kAgain;         // before copying anything
  if (phase_ != Phase::kUp) return Status::kClosed;  // the reply of the oldest told so
  if (!staging_.take(call, stage_in, stage_out)) {
    if (staging_.lent() != 0) return Status::kAgain;
    call.error = "the lease's arena of " + std::to_string(staging_.arena().size()) +
                 " bytes has no room to stage " +
                 std::to_string(staging_bytes(call, stage_in, stage_out)) +
                 " bytes; ask for a larger arena, or keep the data in Lease::buffer";
    return Status::kInvalid;
  }
  const Staged& staged = call.staged;
  const Status status = submit_request(call, stage_in ? staged.block : call.in,
                                       stage_out ? staged.block + staged.out_at : call.out);
  if (status != Status::kOk) staging_.give_back(call);
  return status;
}

void WorkerLink::finish_in_place(PendingCall& call, transport::Ticket ticket,
                                 const transport::ReplyView& view) noexcept {
  call.on(CallEvent::kStarted);
  call.on(CallEvent::kAccepted);
  call.link = this;
  call.ticket = ticket;
  finish(call, view);
}

void WorkerLink::finish_badly(PendingCall& call, const transport::ReplyView& view) noexcept {
  call.error = std::string(view.error);
  if (view.status == Status::kAgain) {
    // The channel does not know the ticket. No call ends as "try again": it is lost.
    call.reply.status = Status::kLost;
    call.error = "its channel does not know of it";
  }
  const bool dying = view.status == Status::kCrashed || view.status == Status::kExited ||
                     view.status == Status::kTimedOut;
  if (dying) killer_ = call.ticket.sequence;
  if (dying || !channel_->is_open()) {
    call.on(CallEvent::kExecutorDied);
    dying_.push_back(call);
    begin_ending();
    sink_.executor_ends();
    return;
  }
  call.on(CallEvent::kReplied);
  staging_.give_back(call);
  sink_.ended_badly(call);
}

bool WorkerLink::poll_oldest() noexcept {
  if (!listening()) return false;
  PendingCall* oldest = slots_[next_sequence_ & mask_];
  return oldest == nullptr || poll(*oldest);
}

bool WorkerLink::wait_oldest(base::Deadline deadline) noexcept {
  // Calls run in order: the first under way ends first.
  for (std::uint32_t i = 0; i < slots_.size() && listening(); ++i) {
    PendingCall* call = slots_[(next_sequence_ + i) & mask_];
    if (call == nullptr) continue;
    (void)wait(*call, deadline);
    return true;
  }
  return false;
}

void WorkerLink::progress() noexcept {
  for (std::uint32_t i = 0; i < slots_.size() && listening(); ++i) {
    PendingCall* call = slots_[(next_sequence_ + i) & mask_];
    if (call != nullptr) (void)poll(*call);
  }
}

void WorkerLink::begin_ending() noexcept {
  if (!listening()) return;
  phase_ = Phase::kEnding;
  ending_since_ = base::ticks();
}

bool WorkerLink::settle(base::Ticks now) noexcept {
  const NodeState& state = *share_->state;
  const bool process_ended = state.ended(generation_) || !channel_->check_peer();
  if (!process_ended && !waited(ending_since_, now, kProcessEnd)) return false;
  const bool told = state.ended(generation_) || state.gone();
  if (!told && !waited(ending_since_, now, kFateTold)) return false;
  take_down(Status::kLost, end_text());
  return true;
}

std::string WorkerLink::end_text() const {
  const NodeState& state = *share_->state;
  // Where the share has ended, that is why its executor did.
  std::string text = state.lost() ? state.reason() : state.fate(generation_).text;
  return text.empty() ? "the connection to its executor broke" : text;
}

bool WorkerLink::close(const std::string& reason, bool by_force) noexcept {
  if (down()) return true;
  if (listening()) progress();
  begin_ending();
  // Over a network nobody but this side's channel writes to the calls' memory.
  const bool may_write = busy() && !transport::reaches_other_nodes(kind_);
  if (may_write && !by_force && !share_->state->ended(generation_) && channel_->check_peer()) {
    return false;
  }
  take_down(Status::kClosed, reason);
  return true;
}

void WorkerLink::take_down(Status status, const std::string& reason) noexcept {
  // Replies that came before the end count.
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    PendingCall* call = slots_[(next_sequence_ + i) & mask_];
    transport::ReplyView view;
    if (call == nullptr || channel_->poll(call->ticket, view) != Status::kOk) continue;
    if (view.status != Status::kLost || channel_->is_open()) finish(*call, view);
  }
  channel_->close();
  channel_.reset();
  phase_ = Phase::kDown;
  // Those whose loss was seen before stand with the others again, in the order of their submission.
  while (PendingCall* call = dying_.pop_front()) {
    if (call->reply.status == Status::kLost) {
      slots_[call->ticket.sequence & mask_] = call;
    } else {
      end_call(*call, status, reason);
    }
  }
  const std::optional<std::uint32_t> last_started = last_started_call();
  // Calls run in order: of those without a reply only the oldest can have been running.
  PendingCall* oldest = nullptr;
  for (std::uint32_t i = 0; i < slots_.size() && oldest == nullptr; ++i) {
    oldest = slots_[(next_sequence_ + i) & mask_];
  }
  if (oldest != nullptr && status == Status::kLost) {
    oldest->attempts += PendingCall::kLostWhileFirst - 1;  // and one when it is run again
  }
  // The youngest first: the sink puts those that run again in front of the queue.
  for (std::uint32_t i = static_cast<std::uint32_t>(slots_.size()); i-- > 0;) {
    PendingCall* call = std::exchange(slots_[(next_sequence_ + i) & mask_], nullptr);
    if (call == nullptr) continue;
    call->on(CallEvent::kExecutorDied);
    const bool never_started =
        (killer_ && i > rank(*killer_)) ||
        (last_started && static_cast<std::int32_t>(call->ticket.sequence - *last_started) > 0);
    if (status == Status::kLost && never_started) {
      staging_.give_back(*call);
      sink_.never_started(*call);
      continue;
    }
    call->reply = {Status::kLost, index_, 0, 0};
    end_call(*call, status, reason);
  }
}

std::optional<std::uint32_t> WorkerLink::last_started_call() const {
  const ExecutorFate fate = share_->state->fate(generation_);
  if (worker_on_node_ >= fate.last_started.size()) return std::nullopt;
  return fate.last_started[worker_on_node_];
}

void WorkerLink::disown(const std::string& reason) noexcept {
  phase_ = Phase::kDown;
  if (channel_) {
    parents_channel_.emplace(std::move(*channel_));
    channel_.reset();
  }
  const auto end = [&](PendingCall* call) {
    call->on(CallEvent::kExecutorDied);
    call->on(CallEvent::kSettled);
    call->staged = {};  // the arena's free list is in whatever state the fork found it
    call->reply = {Status::kClosed, index_, 0, 0};
    call->error = reason;
  };
  while (PendingCall* call = dying_.pop_front()) end(call);
  for (PendingCall*& slot : slots_) {
    if (PendingCall* call = std::exchange(slot, nullptr)) end(call);
  }
}

void WorkerLink::end_call(PendingCall& call, Status status, const std::string& reason) noexcept {
  if (call.reply.status == Status::kLost || call.reply.status == Status::kClosed) {
    call.reply.status = status;
    call.error = reason;
  }
  staging_.give_back(call);
  sink_.ended_badly(call);
}

}  // namespace sublet::client
