// HOT-PATH BUDGET  call: pick a worker, submit, wait; nothing is kept of a call that ends well.
// async: a PendingCall from the pool, which grows only when more handles are held than ever before.
// No lock, system call, log or virtual call while the worker is awake and the call succeeds. (Only
// a lease that several threads share has a lock, which each function takes.)

#include <base/probes.hpp>
#include <client/worker_link_datapath.hpp>
#include <client/workers.hpp>

namespace sublet::client {
namespace {

/// Polls that find nothing between two readings of the clock.
constexpr std::uint32_t kPollsPerLook = 64;

void fill(PendingCall& call, const transport::Request& request, bool idempotent) noexcept {
  call.in = request.in;
  call.in_size = request.in_size;
  call.out = request.out;
  call.out_capacity = request.out_capacity;
  call.function = request.function;
  call.idempotent = idempotent;
  call.by_reference = false;
}

}  // namespace

[[gnu::always_inline]] inline WorkerLink* Workers::pick() noexcept {
  if (links_.size() != 1) return pick_least_busy();
  WorkerLink* only = links_.front().get();
  return only->up() ? only : nullptr;
}

WorkerLink* Workers::pick_least_busy() noexcept {
  WorkerLink* best = nullptr;
  std::uint32_t least = ~std::uint32_t{0};
  const std::size_t count = links_.size();
  std::size_t at = next_worker_;
  for (std::size_t i = 0; i < count; ++i) {
    if (++at >= count) at = 0;
    WorkerLink* link = links_[at].get();
    if (!link->up()) continue;
    const std::uint32_t in_flight = link->in_flight();
    if (in_flight < least) {
      best = link;
      least = in_flight;
      next_worker_ = at;
      if (in_flight == 0) break;
    }
  }
  return best;
}

[[gnu::always_inline]] inline bool Workers::submit_somewhere(PendingCall& call) noexcept {
  while (WorkerLink* link = pick()) {
    Status status = link->submit(call);
    if (status == Status::kOk) [[likely]]
      return true;
    // All slots of the least busy worker are taken, unless a reply waits to be collected.
    if (status == Status::kAgain && link->in_flight() != 0 && link->poll_oldest()) {
      status = link->submit(call);
      if (status == Status::kOk) return true;
    }
    if (status == Status::kAgain) return false;
    if (status == Status::kClosed) {
      link->begin_ending();
      executor_ends();
      continue;
    }
    refuse(call, status, call.error);
    return true;
  }
  executor_ends();
  return false;
}

Reply Workers::call(std::uint16_t function, bool idempotent, const void* in, std::size_t in_size,
                    void* out, std::size_t out_capacity) noexcept {
  const Turn turn(*this);
  if (events_->attention()) [[unlikely]]
    attend();
  const transport::Request request{in, in_size, out, out_capacity, function, false};
  WorkerLink* link = pick();
  if (link != nullptr && continuations_.empty() && queue_.empty()) [[likely]] {
    transport::Ticket ticket;
    transport::ReplyView view;
    if (link->call_in_place(request, ticket, view) == Status::kOk) [[likely]] {
      if (view.status == Status::kOk) [[likely]] {
        SUBLET_PROBE_4(reply, request.function, ticket.sequence, static_cast<int>(view.status),
                       view.exec_ns);
        return {Status::kOk, link->index(), view.size, view.exec_ns};
      }
      return end_in_place(*link, request, idempotent, ticket, view);
    }
  }
  return call_the_long_way(request, idempotent);
}

Reply Workers::call_the_long_way(transport::Request request, bool idempotent) noexcept {
  PendingCall call;
  fill(call, request, idempotent);
  start(call);
  // Bounded by the function's timeout, the lease's end and the patience of the queue.
  (void)wait(call, base::Deadline::none());
  return call.reply;
}

Reply Workers::end_in_place(WorkerLink& link, transport::Request request, bool idempotent,
                            transport::Ticket ticket, transport::ReplyView view) noexcept {
  PendingCall call;
  fill(call, request, idempotent);
  link.finish_in_place(call, ticket, view);
  (void)wait(call, base::Deadline::none());
  return call.reply;
}

[[gnu::always_inline]] inline void Workers::start(PendingCall& call) noexcept {
  call.on(CallEvent::kStarted);
  if (queue_.empty() && !stopped_ && submit_somewhere(call)) [[likely]]
    return;
  if (stopped_) {
    refuse(call, Status::kClosed, stop_reason_);
    return;
  }
  queue_.push_back(call);
  if (events_->attention()) attend();
}

void Workers::pump() noexcept {
  while (PendingCall* call = queue_.pop_front()) {
    if (submit_somewhere(*call)) continue;
    queue_.push_front(*call);
    return;
  }
}

bool Workers::wait(PendingCall& call, base::Deadline deadline) noexcept {
  const Turn turn(*this);
  if (events_->attention()) [[unlikely]]
    attend();
  if (call.state == CallState::kSubmitted && queue_.empty() && call.link->listening()) [[likely]] {
    if (!call.link->wait(call, deadline)) {
      look_around();  // a channel looks for its peer only in longer waits
      return false;
    }
  }
  if (call.state != CallState::kEnded && !wait_long(call, deadline)) return false;
  if (!continuations_.empty()) [[unlikely]]
    run_continuations();
  return true;
}

bool Workers::poll(PendingCall& call) noexcept {
  const Turn turn(*this);
  if (events_->attention()) [[unlikely]]
    attend();
  if (!queue_.empty()) [[unlikely]]
    pump();
  if (call.state == CallState::kSubmitted && call.link->listening() && !call.link->poll(call)) {
    if (++empty_polls_ % kPollsPerLook == 0) look_around();
    return false;
  }
  return call.state == CallState::kEnded;
}

bool Workers::try_poll(PendingCall& call) noexcept {
  if (!turns_) return poll(call);
  const std::unique_lock turn(*turns_, std::try_to_lock);
  return turn.owns_lock() && poll(call);
}

PendingCall* Workers::take_from_pool() noexcept {
  if (pool_.empty()) [[unlikely]] {
    pool_storage_.emplace_back();
    pool_.reserve(pool_storage_.size());
    return &pool_storage_.back();
  }
  PendingCall* call = pool_.back();
  pool_.pop_back();
  return call;
}

void Workers::recycle(PendingCall* call) noexcept {
  const Turn turn(*this);
  call->state = CallState::kIdle;
  call->reply = Reply{};
  call->attempts = 0;
  if (!call->error.empty()) call->error.clear();
  if (call->then) call->then = nullptr;
  pool_.push_back(call);
}

PendingCall* Workers::async(std::uint16_t function, bool idempotent, const void* in,
                            std::size_t in_size, void* out, std::size_t out_capacity,
                            bool by_reference) noexcept {
  const Turn turn(*this);
  if (events_->attention()) [[unlikely]]
    attend();
  PendingCall* call = take_from_pool();
  fill(*call, {in, in_size, out, out_capacity, function, false}, idempotent);
  call->by_reference = by_reference;
  start(*call);
  return call;
}

Status Workers::try_async(std::size_t worker, std::uint16_t function, bool idempotent,
                          const void* in, std::size_t in_size, void* out, std::size_t out_capacity,
                          PendingCall*& call, bool by_reference) noexcept {
  const Turn turn(*this);
  call = nullptr;
  if (worker >= links_.size()) return Status::kInvalid;
  if (events_->attention()) [[unlikely]]
    attend();
  WorkerLink& link = *links_[worker];
  if (!link.up()) [[unlikely]] {
    executor_ends();
    return !stopped_ && may_come_up(link) ? Status::kAgain : Status::kClosed;
  }
  PendingCall* pending = take_from_pool();
  fill(*pending, {in, in_size, out, out_capacity, function, false}, idempotent);
  pending->by_reference = by_reference;
  pending->on(CallEvent::kStarted);
  Status status = link.submit(*pending);
  if (status == Status::kAgain && link.poll_oldest()) status = link.submit(*pending);
  if (status != Status::kOk) {
    last_error_ = pending->error;
    recycle(pending);
    return status;
  }
  call = pending;
  return Status::kOk;
}

void Workers::progress() noexcept {
  const Turn turn(*this);
  if (events_->attention()) [[unlikely]]
    attend();
  for (const auto& link : links_) link->progress();
  if (!queue_.empty()) pump();
  if (++empty_polls_ % kPollsPerLook == 0) look_around();
  if (!continuations_.empty()) run_continuations();
}

}  // namespace sublet::client
