#pragma once

// HOT-PATH BUDGET  What the client library adds around a channel, for inline or arena memory: two
// range checks, the slot's owner, the reply copied to the caller. No allocation, lock, system call,
// log or virtual call; an untraced call reads no clock.

#include <base/probes.hpp>
#include <client/worker_link.hpp>

namespace sublet::client {

[[gnu::always_inline]] inline Status WorkerLink::submit_request(PendingCall& call, const void* in,
                                                                void* out) noexcept {
  transport::Request request;
  request.in = in;
  request.in_size = call.in_size;
  request.out = out;
  request.out_capacity = call.out_capacity;
  request.function = call.function;
  if (trace_ != nullptr) [[unlikely]] {
    request.traced = true;
    call.submitted = base::ticks();
  }
  const Status status = channel_->submit(request, call.ticket);
  if (status != Status::kOk) return status;
  SUBLET_PROBE_4(submit, call.function, call.ticket.sequence, call.in_size, index_);
  call.on(CallEvent::kAccepted);
  call.link = this;
  slots_[call.ticket.sequence & mask_] = &call;
  next_sequence_ = call.ticket.sequence + 1;
  return Status::kOk;
}

inline bool WorkerLink::input_in_place(const void* in, std::size_t size,
                                       std::size_t out_capacity) const noexcept {
  const std::size_t inline_room = out_capacity <= transport::kInlineBytes
                                      ? transport::kInlineBytes
                                      : transport::kInlineBytesBesideOffset;
  return size <= inline_room || staging_.arena().contains(in, size);
}

inline bool WorkerLink::output_in_place(const void* out, std::size_t capacity) const noexcept {
  return capacity <= transport::kInlineBytes || staging_.arena().contains(out, capacity);
}

[[gnu::always_inline]] inline Status WorkerLink::submit(PendingCall& call) noexcept {
  if (phase_ != Phase::kUp) [[unlikely]]
    return Status::kClosed;
  if (call.by_reference && !sees_arena()) [[unlikely]] {
    call.error =
        "the call works on memory of the lease's arena where it lies, and its worker is on "
        "another node by now; call again";
    return Status::kInvalid;
  }
  const bool stage_in = !input_in_place(call.in, call.in_size, call.out_capacity);
  const bool stage_out = !output_in_place(call.out, call.out_capacity);
  if (stage_in || stage_out) [[unlikely]]
    return stage_and_submit(call, stage_in, stage_out);
  return submit_request(call, call.in, call.out);
}

[[gnu::always_inline]] inline Status WorkerLink::call_in_place(
    const transport::Request& request, transport::Ticket& ticket,
    transport::ReplyView& view) noexcept {
  if (trace_ != nullptr || !input_in_place(request.in, request.in_size, request.out_capacity) ||
      !output_in_place(request.out, request.out_capacity)) {
    return Status::kAgain;
  }
  // Bounded by the function's timeout and the end of the lease.
  SUBLET_PROBE_4(submit, request.function, next_sequence_, request.in_size, index_);
  if (channel_->call(request, ticket, view) != Status::kOk) return Status::kAgain;
  next_sequence_ = ticket.sequence + 1;
  return Status::kOk;
}

[[gnu::always_inline]] inline void WorkerLink::finish(PendingCall& call,
                                                      const transport::ReplyView& view) noexcept {
  SUBLET_PROBE_4(reply, call.function, call.ticket.sequence, static_cast<int>(view.status),
                 view.exec_ns);
  slots_[call.ticket.sequence & mask_] = nullptr;
  call.reply.status = view.status;
  call.reply.worker = index_;
  call.reply.size = view.size;
  call.reply.exec_ns = view.exec_ns;
  if (trace_ != nullptr) [[unlikely]] {
    trace_->add({call.submitted, view.started, view.ended, base::ticks(), index_, call.function,
                 view.status});
  }
  if (view.status != Status::kOk) [[unlikely]] {
    const transport::ReplyView failed = view;  // of its own: `view` stays in registers
    finish_badly(call, failed);
    return;
  }
  call.on(CallEvent::kReplied);
  if (call.staged.block != nullptr) [[unlikely]]
    staging_.give_back(call);
  if (call.then) [[unlikely]]
    continuations_.push_back(&call);
}

inline bool WorkerLink::poll(PendingCall& call) noexcept {
  transport::ReplyView view;
  if (channel_->poll(call.ticket, view) == Status::kAgain) return false;
  finish(call, view);
  return true;
}

[[gnu::always_inline]] inline bool WorkerLink::wait(PendingCall& call,
                                                    base::Deadline deadline) noexcept {
  transport::ReplyView view;
  if (channel_->wait(call.ticket, view, deadline) == Status::kDeadline) return false;
  finish(call, view);
  return true;
}

}  // namespace sublet::client
