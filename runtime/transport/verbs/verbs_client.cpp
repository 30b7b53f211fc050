// The client's slow paths: requests that wait to be sent, waiting long, failures, the channel's
// end.

#include <base/log.hpp>
#include <transport/verbs/verbs_client_datapath.hpp>
#include <transport/verbs/verbs_tuning.hpp>

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <utility>

namespace sublet::transport::verbs {

static_assert(transport::ClientChannel<ClientChannel>);

ClientLink::ClientLink(ClientParts parts, std::shared_ptr<Arena> arena, std::uint32_t slots,
                       const WaitPolicy& policy, std::function<bool()> peer_gone)
    : completions_(parts.completions.get()),
      arena_range_{arena->data(), arena->size()},
      registered_(parts.part->size),
      memory_lkey_(parts.memory.region->lkey),
      arena_key_(parts.part->region->rkey),
      arena_lkey_(parts.part->region->lkey),
      mask_(slots - 1),
      inline_bytes_(parts.inline_bytes),
      depths_(QueueDepths::of(slots)),
      unsent_(slots),
      wait_(policy, kContendedSpin),
      peer_gone_(std::move(peer_gone)),
      parts_(std::move(parts)),
      arena_(std::move(arena)),
      pending_storage_(slots),
      receives_(depths_.receives_batch) {
  const ClientLayout layout{slots};
  replies_ = parts_.memory.data() + layout.replies();
  staging_ = parts_.memory.data() + layout.staging();
  pending_ = pending_storage_.data();
  number_ = completions_->add(*this);
  for (std::size_t i = 0; i < receives_.size(); ++i) {
    receives_[i] = {};
    receives_[i].wr_id = Completions::work_id(number_, true);
    receives_[i].next = i + 1 < receives_.size() ? &receives_[i + 1] : nullptr;
  }
}

ClientLink::~ClientLink() {
  close();
  // The queue pair first: what it leaves in the completion queue goes with the link's number.
  if (pair_ != nullptr) rdma_destroy_qp(parts_.id.get());
  completions_->remove(number_, depths_.completions());
}

Result<void> ClientLink::make_queue_pair() {
  ibv_qp_init_attr init{};
  init.send_cq = completions_->queue();
  init.recv_cq = completions_->queue();
  init.qp_type = IBV_QPT_RC;
  init.cap.max_send_wr = depths_.sends;
  init.cap.max_recv_wr = depths_.receives;
  init.cap.max_send_sge = 2;
  init.cap.max_recv_sge = 1;
  init.cap.max_inline_data = inline_bytes_;
  if (rdma_create_qp(parts_.id.get(), parts_.domain->domain(), &init) != 0) {
    return verbs_error(ErrorKind::kOverloaded, "making a queue pair", errno);
  }
  pair_ = parts_.id->qp;
  for (std::uint32_t posted = 0; posted < depths_.receives; posted += depths_.receives_batch) {
    refill();
  }
  if (!is_open()) return fail(ErrorKind::kInternal, "posting receives to a new queue pair");
  return {};
}

void ClientLink::connected(const Welcome& welcome) noexcept {
  requests_ = welcome.requests_address;
  requests_rkey_ = welcome.requests_rkey;
  slot_payload_ = welcome.slot_payload;
  stride_ = request_stride(welcome.slot_payload);
  last_keep_alive_ = base::ticks();
}

void ClientLink::refill() noexcept {
  ibv_recv_wr* bad = nullptr;
  receives_used_ = 0;
  if (ibv_post_recv(pair_, receives_.data(), &bad) != 0) end(Status::kLost);
}

// ---- requests that wait to be sent ----

void ClientLink::send_unsent() noexcept {
  while (!unsent_.empty() && is_open()) {
    const std::uint32_t sequence = unsent_.sequence();
    const Request& request = unsent_.request();
    Pending& pending = pending_[slot_of(sequence)];
    Placement placement;
    (void)place(request, arena_range_, placement);  // submit() has checked it
    const std::uint64_t end = needed(request, placement);
    if (!pending.unusable && end > registered_ && !cover(end)) pending.unusable = true;
    // Whatever came for it before it was sent is no reply to it.
    pending.replied.store(false, std::memory_order_relaxed);
    const bool sent =
        pending.unusable ? send_refused(sequence, request) : send(sequence, request, placement);
    if (!sent) return;
    pending.state = State::kUnderWay;
    unsent_.pop();
  }
}

/// Sends a request that breaks the rules. The worker counts calls, so that one whose memory cannot
/// be used has to travel as well; the worker refuses it.
bool ClientLink::send_refused(std::uint32_t sequence, const Request& request) noexcept {
  const std::uint32_t slot = slot_of(sequence);
  std::byte* const stage = staging_ + slot * kStagingStride;
  const InputPlace nowhere{0, std::numeric_limits<std::uint64_t>::max(), 0, 0};
  std::memcpy(stage + kInputPlaceAt, &nowhere, sizeof(nowhere));
  ibv_sge piece{reinterpret_cast<std::uintptr_t>(stage + kInputPlaceAt), sizeof(nowhere),
                memory_lkey_};
  const RequestWord word{request.function,        0, false, true, sequence & kSequenceBits,
                         pending_[slot].same_slot};
  ibv_send_wr work{};
  work.sg_list = &piece;
  work.num_sge = 1;
  work.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
  work.send_flags = IBV_SEND_SOLICITED;
  work.imm_data = htonl(word.encode());
  work.wr.rdma.remote_addr = requests_ + slot * stride_ + kInputPlaceAt;
  work.wr.rdma.rkey = requests_rkey_;
  return post(work);
}

/// Of a call that is not under way.
Status ClientLink::poll_other(Ticket ticket, ReplyView& reply) noexcept {
  Pending& pending = pending_[slot_of(ticket.sequence)];
  if (pending.state != State::kUnsent || pending.sequence != ticket.sequence) {
    return Status::kInvalid;
  }
  completions_->poll();
  send_unsent();
  return is_open() ? Status::kAgain : end_of_channel(pending, reply);
}

bool ClientLink::cover(std::uint64_t end) noexcept {
  auto part = parts_.domain->covering(end);
  if (!part) {
    unusable_ = part.error().what();
    base::log().error("the arena's first {} bytes cannot be used: {}", end, unusable_);
    return false;
  }
  if (in_flight_ == 0) old_parts_.clear();
  old_parts_.push_back(std::exchange(parts_.part, std::move(*part)));
  registered_ = parts_.part->size;
  arena_key_ = parts_.part->region->rkey;
  arena_lkey_ = parts_.part->region->lkey;
  return true;
}

void ClientLink::collect_line(const Pending& pending, ReplyView& reply) noexcept {
  const std::byte* from = replies_ + slot_of(pending.sequence) * kReplyStride + kReplyLineAt;
  ReplyLine line;
  std::memcpy(&line, from, kReplyLineHead);
  std::atomic_signal_fence(std::memory_order_seq_cst);  // the copy is what is checked
  reply.status = static_cast<Status>(line.status);
  reply.size = line.size;
  reply.exec_ns = line.exec_ns;
  if (reply.status == Status::kOk) {  // a very long output
    if (reply.size <= pending.out_capacity && pending.out_capacity > kInlineBytes) return;
    settle_overlong(reply);
    return;
  }
  if (pending.unusable) return settle_failure(reply, unusable_);
  const std::size_t size = std::min<std::size_t>(line.error_size, error_.size());
  std::memcpy(error_.data(), from + kReplyLineHead, size);
  settle_failure(reply, {error_.data(), size});
}

Status ClientLink::end_of_channel(Pending& pending, ReplyView& reply) noexcept {
  pending.state = State::kFree;
  --in_flight_;
  reply = ReplyView{};
  reply.status = end_.load(std::memory_order_relaxed);
  return Status::kOk;
}

void ClientLink::end(Status status) noexcept {
  Status open = Status::kOk;
  end_.compare_exchange_strong(open, status);
}

void ClientLink::close() noexcept {
  end(Status::kClosed);
  // Tells the executor, and answers it when it was the first to go.
  if (parts_.id && parts_.id->qp != nullptr) rdma_disconnect(parts_.id.get());
}

/// Takes the replies that came before the end.
void ClientLink::drain() noexcept {
  // More than that no honest executor has sent.
  for (std::uint32_t i = 0; i < depths_.completions() && completions_->poll(); ++i) {
  }
}

void ClientLink::read_events() noexcept {
  rdma_cm_event* event = nullptr;
  while (rdma_get_cm_event(parts_.events.get(), &event) == 0) {
    const auto type = event->event;
    rdma_ack_cm_event(event);
    if (type == RDMA_CM_EVENT_DISCONNECTED || type == RDMA_CM_EVENT_DEVICE_REMOVAL ||
        type == RDMA_CM_EVENT_TIMEWAIT_EXIT) {
      drain();
      end(Status::kLost);
    }
  }
}

/// A cut link says nothing by itself; a write over it fails after some retries.
void ClientLink::keep_alive() noexcept {
  const base::Ticks now = base::ticks();
  if (in_flight_ == 0 || now - last_keep_alive_ < base::TickRate::get().from(kKeepAlive)) return;
  last_keep_alive_ = now;
  if (!has_room()) return;
  ibv_send_wr work{};
  work.opcode = IBV_WR_RDMA_WRITE;
  work.wr.rdma.remote_addr = requests_;
  work.wr.rdma.rkey = requests_rkey_;
  unsignalled_ = depths_.signal_every;  // this one is
  (void)post(work);
}

bool ClientLink::check_peer() noexcept {
  if (!is_open()) return false;
  completions_->poll();
  pollfd ready{parts_.events->fd, POLLIN, 0};
  if (::poll(&ready, 1, 0) > 0) read_events();
  keep_alive();
  if (is_open() && (device_is_dead(parts_.domain->device()) || (peer_gone_ && peer_gone_()))) {
    drain();
    end(Status::kLost);
  }
  return is_open();
}

Status ClientLink::wait_long(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept {
  return wait_.run(*this, ticket, reply, deadline);
}

void ClientLink::sleep_for(Ticket ticket, std::chrono::nanoseconds limit) noexcept {
  // The connection's events too: an executor that dies is seen at once.
  completions_->sleep_unless(parts_.events->fd, limit, [&] { return has_ended(ticket); });
  if (!has_ended(ticket)) (void)check_peer();  // it may be the connection that woke us
}

}  // namespace sublet::transport::verbs
