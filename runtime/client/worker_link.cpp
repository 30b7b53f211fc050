#include <base/log.hpp>
#include <client/control_thread.hpp>
#include <client/worker_link_datapath.hpp>

#include <cstring>
#include <new>
#include <utility>

namespace sublet::client {

WorkerLink::WorkerLink(NodeLink& node, std::uint32_t index, std::uint32_t worker_on_node,
                       std::shared_ptr<transport::Arena> arena, TraceBuffer* trace,
                       std::vector<PendingCall*>& continuations)
    : node_(node),
      index_(index),
      worker_on_node_(worker_on_node),
      arena_(std::move(arena)),
      trace_(trace),
      continuations_(continuations) {}

WorkerLink::~WorkerLink() {
  take_down(Status::kClosed, "the lease was released");
  for (void* block : free_staging_) {
    arena_->deallocate(block, transport::tuning::kStagingBytes, transport::Arena::kGranule);
  }
}

Result<transport::Target> WorkerLink::target(const Timeouts& timeouts) const {
  auto address = node_.choose();
  if (!address) {
    return fail(address.error().kind(), "no transport to the executor on node " +
                                            node_.grant().node_name + ": " +
                                            address.error().what());
  }
  transport::Target target;
  target.kind = address->kind;
  target.options.address = std::move(address->text);
  target.options.token = node_.endpoint().token;
  target.options.worker = worker_on_node_;
  target.options.slots = node_.grant().slots;
  target.options.timeout = timeouts.exchange;
  target.options.peer_timeout = timeouts.peer;
  target.options.peer_gone = node_.gone();
  return target;
}

void WorkerLink::take(transport::AnyClientChannel channel, const transport::Target& target) {
  base::log().debug("worker {} of lease {} on node {}: {} at {} ({})", index_,
                    node_.grant().lease_id, node_.grant().node_name, to_string(target.kind),
                    target.options.address, node_.choice_reasons());
  kind_ = target.kind;
  channel_.emplace(std::move(channel));
  generation_ = node_.endpoint().generation;
  mask_ = channel_->slots() - 1;
  slots_.assign(channel_->slots(), nullptr);
  next_sequence_ = 1;
}

Result<void> WorkerLink::connect(const Timeouts& timeouts) {
  const auto to = target(timeouts);
  if (!to) return tl::unexpected<Error>(to.error());
  auto channels = transport::connect({*to}, arena_);
  if (!channels.front()) return tl::unexpected<Error>(channels.front().error());
  take(std::move(*channels.front()), *to);
  return {};
}

Status WorkerLink::stage_and_submit(PendingCall& call, bool stage_in, bool stage_out) noexcept {
  const auto padded = [](std::size_t size) {
    return (size + transport::Arena::kGranule - 1) / transport::Arena::kGranule *
           transport::Arena::kGranule;
  };
  if (!poll_oldest()) return Status::kAgain;  // before copying anything
  const std::size_t in_bytes = stage_in ? padded(call.in_size) : 0;
  const std::size_t bytes = in_bytes + (stage_out ? padded(call.out_capacity) : 0);
  std::byte* staging = nullptr;
  try {
    if (bytes <= transport::tuning::kStagingBytes && !free_staging_.empty()) {
      staging = static_cast<std::byte*>(free_staging_.back());
      free_staging_.pop_back();
    } else {
      call.staging_bytes = std::max(bytes, transport::tuning::kStagingBytes);
      staging =
          static_cast<std::byte*>(arena_->allocate(call.staging_bytes, transport::Arena::kGranule));
    }
  } catch (const std::bad_alloc&) {
    call.error = "the lease's arena of " + std::to_string(arena_->size()) +
                 " bytes has no room to stage " + std::to_string(bytes) +
                 " bytes; ask for a larger arena, or keep the data in Lease::buffer";
    return Status::kInvalid;
  }
  call.staging_bytes = std::max(bytes, transport::tuning::kStagingBytes);
  call.staging = staging;
  call.staged_out_at = stage_out ? in_bytes : PendingCall::kNotStaged;
  if (stage_in) std::memcpy(staging, call.in, call.in_size);
  const Status status =
      submit_request(call, stage_in ? staging : call.in, stage_out ? staging + in_bytes : call.out);
  if (status != Status::kOk) {
    call.staged_out_at = PendingCall::kNotStaged;
    release_staging(call);
  }
  return status;
}

void WorkerLink::finish_in_place(PendingCall& call, transport::Ticket ticket,
                                 const transport::ReplyView& view) noexcept {
  call.worker = this;
  call.ticket = ticket;
  finish(call, view);
}

void WorkerLink::release_staging(PendingCall& call) noexcept {
  if (call.staged_out_at != PendingCall::kNotStaged && call.reply.status == Status::kOk &&
      call.reply.size <= call.out_capacity) {
    std::memcpy(call.out, static_cast<std::byte*>(call.staging) + call.staged_out_at,
                call.reply.size);
  }
  if (call.staging_bytes == transport::tuning::kStagingBytes) {
    free_staging_.push_back(call.staging);
  } else {
    arena_->deallocate(call.staging, call.staging_bytes, transport::Arena::kGranule);
  }
  call.staging = nullptr;
}

void WorkerLink::finish_failed(PendingCall& call, const transport::ReplyView& view) noexcept {
  call.error = std::string(view.error);
  switch (view.status) {
    case Status::kCrashed:
    case Status::kExited:
    case Status::kTimedOut:
      on_executor_gone(*this, call.error);
      break;
    case Status::kLost:
      if (channel_ && !channel_->is_open()) {
        call.error = node_.fate(generation_);
        on_executor_gone(*this, call.error);
      }
      break;
    default:
      break;
  }
}

bool WorkerLink::wait_oldest(base::Deadline deadline) noexcept {
  PendingCall* oldest = slots_.empty() ? nullptr : slots_[next_sequence_ & mask_];
  if (oldest != nullptr) return wait(*oldest, deadline);
  return true;
}

void WorkerLink::wait_any(base::Deadline deadline) noexcept {
  // Calls run in order: the first under way ends first.
  for (std::uint32_t i = 0; i < slots_.size() && channel_; ++i) {
    PendingCall* call = slots_[(next_sequence_ + i) & mask_];
    if (call != nullptr) {
      (void)wait(*call, deadline);
      return;
    }
  }
}

void WorkerLink::progress() noexcept {
  for (std::uint32_t i = 0; i < slots_.size() && channel_; ++i) {
    PendingCall* call = slots_[(next_sequence_ + i) & mask_];
    if (call != nullptr) (void)poll(*call);
  }
}

void WorkerLink::take_down(Status status, const std::string& reason) noexcept {
  if (!channel_) return;
  // Out of the way first: what follows may find its way here again.
  std::optional<transport::AnyClientChannel> channel = std::move(channel_);
  channel_.reset();
  for (PendingCall*& slot : slots_) {
    PendingCall* call = std::exchange(slot, nullptr);
    if (call == nullptr) continue;
    transport::ReplyView view;
    if (channel->poll(call->ticket, view) != Status::kOk || view.status == Status::kLost) {
      view = transport::ReplyView{};
      view.status = status;
    }
    call->in_flight = false;
    call->reply.status = view.status;
    call->reply.worker = index_;
    call->reply.size = view.size;
    call->reply.exec_ns = view.exec_ns;
    call->error = view.status == status ? reason : std::string(view.error);
    if (call->staging != nullptr) release_staging(*call);
    if (call->then) continuations_.push_back(call);
  }
  channel->close();
}

}  // namespace sublet::client
