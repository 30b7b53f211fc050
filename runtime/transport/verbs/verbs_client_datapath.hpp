#pragma once

// HOT-PATH BUDGET  submit: one ibv_post_send of one work request, after at most three copies of
// some words into staging memory. poll: one look at the call's own word, one poll of the thread's
// completion queue. Receives are posted again half a ring at a time, and one send in half a ring is
// signalled. No allocation, lock or virtual call; no system call of ours (software devices make one
// in ibv_post_send).
//
// A request for which the send queue has no room, or whose memory has to be registered first, is
// kept (see Unsent) and sent by a later poll.

#include <transport/common/inline_copy.hpp>
#include <transport/common/reply_check.hpp>
#include <transport/verbs/verbs_client_link.hpp>

#include <arpa/inet.h>

#include <cstring>
#include <memory>
#include <utility>

namespace sublet::transport::verbs {

inline Status ClientLink::submit(const Request& request, Ticket& ticket) noexcept {
  const std::uint32_t sequence = next_;
  const bool same_slot = in_flight_ == 0;
  const std::uint32_t shift = same_slot ? shift_ + 1 : shift_;
  Pending& pending = pending_[(sequence - shift) & mask_];
  const Status end = end_.load(std::memory_order_relaxed);
  if (pending.state != State::kFree) return end == Status::kOk ? Status::kAgain : Status::kClosed;
  if (end != Status::kOk) [[unlikely]]
    return Status::kClosed;
  Placement placement;
  if (!place(request, arena_range_, placement)) return Status::kInvalid;
  pending.out = request.out;
  pending.out_capacity = request.out_capacity;
  pending.sequence = sequence;
  pending.same_slot = same_slot;
  pending.unusable = false;
  shift_ = shift;
  pending.replied.store(false, std::memory_order_relaxed);
  if (unsent_.empty() && needed(request, placement) <= registered_ &&
      send(sequence, request, placement)) [[likely]] {
    pending.state = State::kUnderWay;
  } else {
    unsent_.push(sequence, request);
    pending.state = State::kUnsent;
  }
  ++in_flight_;
  next_ = sequence + 1;
  ticket.sequence = sequence;
  return Status::kOk;
}

[[gnu::always_inline]] inline bool ClientLink::send(std::uint32_t sequence, const Request& request,
                                                    const Placement& placement) noexcept {
  const std::uint32_t slot = slot_of(sequence);
  std::byte* const stage = staging_ + slot * kStagingStride;
  RequestWord word{request.function,        0, request.traced, false, sequence & kSequenceBits,
                   pending_[slot].same_slot};
  std::size_t start = kPayloadAt;
  std::size_t stop = kPayloadAt;
  OutputPlace output{};
  if (placement.out_is_inline) {
    word.output = static_cast<std::uint32_t>(request.out_capacity);
  } else {
    output = {reinterpret_cast<std::uintptr_t>(request.out), request.out_capacity, arena_key_, 0};
    word.output = output == last_output_ ? kOutputAsBefore : kOutputPlaced;
    if (word.output == kOutputPlaced) {
      std::memcpy(stage + kOutputPlaceAt, &output, sizeof(output));
      start = kOutputPlaceAt;
    }
  }
  const bool input_inline = placement.in_is_inline;
  ibv_sge pieces[2];
  ibv_send_wr work;
  work.num_sge = 0;
  std::uint64_t length = 0;
  const bool at_its_place = !input_inline && request.in_size > slot_payload_;
  if (at_its_place) [[unlikely]] {
    const InputPlace input{reinterpret_cast<std::uintptr_t>(request.in), request.in_size,
                           arena_key_, 0};
    std::memcpy(stage + kInputPlaceAt, &input, sizeof(input));
    word.has_input_place = true;
    stop = start == kOutputPlaceAt ? kPayloadAt : kOutputPlaceAt;
    start = kInputPlaceAt;
  } else if (input_inline && request.in_size != 0) {
    copy_inline(stage + kPayloadAt, request.in, request.in_size);
    stop += request.in_size;
  }
  if (stop != start) {
    length = stop - start;
    pieces[work.num_sge++] = {reinterpret_cast<std::uintptr_t>(stage + start),
                              static_cast<std::uint32_t>(length), memory_lkey_};
  }
  if (!input_inline && !at_its_place) {
    length += request.in_size;
    pieces[work.num_sge++] = {reinterpret_cast<std::uintptr_t>(request.in),
                              static_cast<std::uint32_t>(request.in_size), arena_lkey_};
  }
  work.wr_id = 0;
  work.next = nullptr;
  work.sg_list = pieces;
  work.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
  work.send_flags =
      length <= inline_bytes_ ? IBV_SEND_SOLICITED | IBV_SEND_INLINE : IBV_SEND_SOLICITED;
  work.imm_data = htonl(word.encode());
  work.wr.rdma.remote_addr = requests_ + slot * stride_ + start;
  work.wr.rdma.rkey = requests_rkey_;
  if (!post(work)) [[unlikely]]
    return false;
  if (word.output == kOutputPlaced) last_output_ = output;
  return true;
}

inline bool ClientLink::post(ibv_send_wr& work) noexcept {
  if (!has_room()) [[unlikely]]
    return false;
  ++sends_;
  if (++unsignalled_ >= depths_.signal_every) {
    work.send_flags |= IBV_SEND_SIGNALED;
    unsignalled_ = 0;
  }
  // It carries the number of sends that have ended when this one has.
  work.wr_id = Completions::work_id(number_, false) | std::uint64_t{sends_} << 32;
  ibv_send_wr* bad = nullptr;
  if (ibv_post_send(pair_, &work, &bad) == 0) [[likely]]
    return true;
  end(Status::kLost);
  return false;
}

inline void ClientLink::completed(const ibv_wc& completion) noexcept {
  if (completion.status == IBV_WC_SUCCESS && completion.opcode == IBV_WC_RECV_RDMA_WITH_IMM)
      [[likely]] {
    const std::uint32_t word = ntohl(completion.imm_data);
    const std::uint32_t slot = ReplyWord::decode(word).slot;
    if (slot > mask_) [[unlikely]] {
      end_.store(Status::kLost, std::memory_order_relaxed);
      return;
    }
    Pending& pending = pending_[slot];
    pending.reply_word = word;
    pending.reply_bytes = completion.byte_len;
    pending.replied.store(true, std::memory_order_release);
    if (++receives_used_ == depths_.receives_batch) refill();
  } else if (completion.status == IBV_WC_SUCCESS) {
    done_.store(static_cast<std::uint32_t>(completion.wr_id >> 32), std::memory_order_relaxed);
  } else {
    end(Status::kLost);
  }
}

inline void ClientLink::collect(Pending& pending, ReplyView& reply) noexcept {
  const ReplyWord word = ReplyWord::decode(pending.reply_word);
  reply.error = {};
  reply.started = 0;
  reply.ended = 0;
  pending.state = State::kFree;
  --in_flight_;
  if (word.has_line) [[unlikely]] {
    ReplyView line;
    collect_line(pending, line);
    reply = line;
    return;
  }
  const std::uint64_t size = pending.reply_bytes;
  reply.exec_ns = unpack_time(word.packed_time);
  reply.status = Status::kOk;
  reply.size = size;
  if (fits(reply, pending.out_capacity) && pending.out_capacity <= kInlineBytes && size != 0) {
    copy_inline(pending.out, replies_ + slot_of(pending.sequence) * kReplyStride, size);
  }
}

inline Status ClientLink::poll(Ticket ticket, ReplyView& reply) noexcept {
  Pending& pending = pending_[slot_of(ticket.sequence)];
  if (!under_way(pending, ticket)) [[unlikely]]
    return poll_other(ticket, reply);
  if (!pending.replied.load(std::memory_order_acquire)) {
    completions_->poll();
    if (!unsent_.empty()) [[unlikely]]
      send_unsent();
    if (!pending.replied.load(std::memory_order_acquire)) {
      return is_open() ? Status::kAgain : end_of_channel(pending, reply);
    }
  }
  collect(pending, reply);
  return Status::kOk;
}

inline Status ClientLink::wait(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept {
  Pending& pending = pending_[slot_of(ticket.sequence)];
  // Without pauses: a poll of the queue is pause enough.
  const std::uint32_t polls = under_way(pending, ticket) ? kPollsBeforeClock : 0;
  for (std::uint32_t i = 0; i < polls; ++i) {
    if (pending.replied.load(std::memory_order_acquire)) {
      collect(pending, reply);
      return Status::kOk;
    }
    completions_->poll();
  }
  ReplyView late = reply;
  const Status status = wait_long(ticket, late, deadline);
  reply = late;
  return status;
}

/// The client's end of a channel. Owner: the lease's link to one worker. One thread at a time.
class ClientChannel {
 public:
  explicit ClientChannel(std::unique_ptr<ClientLink> link) noexcept : link_(std::move(link)) {}

  [[nodiscard]] Status submit(const Request& request, Ticket& ticket) noexcept {
    return link_->submit(request, ticket);
  }
  [[nodiscard]] Status poll(Ticket ticket, ReplyView& reply) noexcept {
    return link_->poll(ticket, reply);
  }
  [[nodiscard]] Status wait(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept {
    return link_->wait(ticket, reply, deadline);
  }
  [[nodiscard]] bool check_peer() noexcept { return link_->check_peer(); }
  void close() noexcept { link_->close(); }
  [[nodiscard]] bool is_open() const noexcept { return link_->is_open(); }
  [[nodiscard]] std::uint32_t slots() const noexcept { return link_->slots(); }
  [[nodiscard]] std::uint32_t in_flight() const noexcept { return link_->in_flight(); }

 private:
  std::unique_ptr<ClientLink> link_;
};

}  // namespace sublet::transport::verbs
