// HOT-PATH BUDGET  call: pick a worker, submit, wait; nothing is kept of a call that ends well.
// async: a PendingCall from the pool, which grows only when more handles are held than ever before.
// No lock, system call, log or virtual call while the worker is awake and the call succeeds.

#include <client/lease_impl.hpp>
#include <client/worker_link_datapath.hpp>

namespace sublet::client {
namespace {

constexpr std::uint8_t kMaxAttempts = 4;

void fill(PendingCall& call, const transport::Request& request, bool idempotent) noexcept {
  call.in = request.in;
  call.in_size = request.in_size;
  call.out = request.out;
  call.out_capacity = request.out_capacity;
  call.function = request.function;
  call.idempotent = idempotent;
}

}  // namespace

[[gnu::always_inline]] inline WorkerLink* LeaseImpl::pick() noexcept {
  if (workers_.size() != 1) return pick_least_busy();
  WorkerLink* only = workers_.front().get();
  return only->up() ? only : nullptr;
}

WorkerLink* LeaseImpl::pick_least_busy() noexcept {
  WorkerLink* best = nullptr;
  std::uint32_t least = ~std::uint32_t{0};
  const std::size_t count = workers_.size();
  std::size_t at = next_worker_;
  for (std::size_t i = 0; i < count; ++i) {
    if (++at >= count) at = 0;
    WorkerLink* link = workers_[at].get();
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

void LeaseImpl::submit_anywhere(PendingCall& call) noexcept {
  if (events_->attention()) [[unlikely]]
    attend();
  for (;;) {
    WorkerLink* link = pick();
    if (link == nullptr) [[unlikely]] {
      if (recover()) continue;
      attend(true);
      if (pick() != nullptr) continue;
      fail_call(call, Status::kClosed, "no worker is left: " + down_reason_);
      return;
    }
    const Status status = link->submit(call);
    if (status == Status::kOk) [[likely]]
      return;
    if (status == Status::kAgain) {
      // All slots of the least busy worker are taken. Bounded by the oldest call's own end.
      (void)link->wait_oldest(base::Deadline::none());
      continue;
    }
    if (status == Status::kClosed) {
      executor_gone(*link, link->node().fate(link->generation()));
      continue;
    }
    fail_call(call, status, call.error);
    return;
  }
}

Reply LeaseImpl::call(std::uint16_t function, bool idempotent, const void* in, std::size_t in_size,
                      void* out, std::size_t out_capacity) noexcept {
  if (events_->attention()) [[unlikely]]
    attend();
  const transport::Request request{in, in_size, out, out_capacity, function, false};
  if (WorkerLink* link = pick(); link != nullptr && continuations_.empty()) [[likely]] {
    transport::Ticket ticket;
    transport::ReplyView view;
    if (link->call_in_place(request, ticket, view) == Status::kOk) [[likely]] {
      if (view.status == Status::kOk) [[likely]] {
        return {Status::kOk, link->index(), view.size, view.exec_ns};
      }
      return end_in_place(*link, request, idempotent, ticket, view);
    }
  }
  return call_the_long_way(request, idempotent);
}

Reply LeaseImpl::call_the_long_way(transport::Request request, bool idempotent) noexcept {
  PendingCall call;
  fill(call, request, idempotent);
  submit_anywhere(call);
  // Bounded by the function's timeout and the lease's end.
  (void)wait(call, base::Deadline::none());
  return call.reply;
}

Reply LeaseImpl::end_in_place(WorkerLink& link, transport::Request request, bool idempotent,
                              transport::Ticket ticket, transport::ReplyView view) noexcept {
  PendingCall call;
  fill(call, request, idempotent);
  link.finish_in_place(call, ticket, view);
  (void)wait(call, base::Deadline::none());
  return call.reply;
}

bool LeaseImpl::wait(PendingCall& call, base::Deadline deadline) noexcept {
  for (;;) {
    if (call.in_flight && !call.worker->wait(call, deadline)) return false;
    if (call.reply.status == Status::kOk) [[likely]]
      break;
    if (retry(call)) continue;
    note_failure(call);
    break;
  }
  if (!continuations_.empty()) [[unlikely]]
    run_continuations();
  return true;
}

bool LeaseImpl::poll(PendingCall& call) noexcept {
  if (call.in_flight && !call.worker->poll(call)) return false;
  if (call.reply.status == Status::kOk) [[likely]]
    return true;
  if (retry(call)) return false;
  note_failure(call);
  return true;
}

bool LeaseImpl::retry(PendingCall& call) noexcept {
  if (call.reply.status != Status::kLost || !call.idempotent || call.attempts + 1 >= kMaxAttempts ||
      released_) {
    return false;
  }
  ++call.attempts;
  call.reply = Reply{};
  const std::string lost = std::move(call.error);
  call.error.clear();
  submit_anywhere(call);
  if (!call.in_flight) {
    call.reply.status = Status::kLost;
    call.error = lost + "; and it could not be run again: " + call.error;
    call.attempts = kMaxAttempts;
  }
  return true;
}

PendingCall* LeaseImpl::take_from_pool() noexcept {
  if (pool_.empty()) [[unlikely]] {
    pool_storage_.emplace_back();
    pool_.reserve(pool_storage_.size());
    return &pool_storage_.back();
  }
  PendingCall* call = pool_.back();
  pool_.pop_back();
  return call;
}

void LeaseImpl::recycle(PendingCall* call) noexcept {
  call->reply = Reply{};
  call->attempts = 0;
  if (!call->error.empty()) call->error.clear();
  if (call->then) call->then = nullptr;
  pool_.push_back(call);
}

PendingCall* LeaseImpl::async(std::uint16_t function, bool idempotent, const void* in,
                              std::size_t in_size, void* out, std::size_t out_capacity) noexcept {
  PendingCall* call = take_from_pool();
  fill(*call, {in, in_size, out, out_capacity, function, false}, idempotent);
  submit_anywhere(*call);
  return call;
}

Status LeaseImpl::try_async(std::size_t worker, std::uint16_t function, bool idempotent,
                            const void* in, std::size_t in_size, void* out,
                            std::size_t out_capacity, PendingCall*& call) noexcept {
  call = nullptr;
  if (worker >= workers_.size()) return Status::kInvalid;
  if (events_->attention()) [[unlikely]]
    attend();
  WorkerLink& link = *workers_[worker];
  if (!link.up()) [[unlikely]] {
    if (!recover(link)) return Status::kClosed;
  }
  PendingCall* pending = take_from_pool();
  fill(*pending, {in, in_size, out, out_capacity, function, false}, idempotent);
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

void LeaseImpl::progress() noexcept {
  if (events_->attention()) [[unlikely]]
    attend();
  for (const auto& link : workers_) link->progress();
  if (!continuations_.empty()) run_continuations();
}

}  // namespace sublet::client
