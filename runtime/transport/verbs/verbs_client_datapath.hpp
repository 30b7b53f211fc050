#pragma once

// HOT-PATH BUDGET  submit: one ibv_post_send of one work request, after at most three copies of
// some words into staging memory. poll: one look at the call's own word, one poll of the thread's
// completion queue. Receives are posted again half a ring at a time, and one send in half a ring is
// signalled. No allocation, lock or virtual call; no system call of ours (software devices make one
// in ibv_post_send).

#include <transport/contention.hpp>
#include <transport/contract.hpp>
#include <transport/verbs/verbs_arena.hpp>
#include <transport/verbs/verbs_completions.hpp>
#include <transport/verbs/verbs_wire.hpp>

#include <arpa/inet.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

namespace sublet::transport::verbs {

/// What a queue pair that has been connected consists of.
struct ClientParts {
  std::shared_ptr<ArenaDomain> domain;
  std::shared_ptr<const ArenaDomain::Part> part;
  std::shared_ptr<Completions> completions;
  Registered memory;  ///< Of ClientLayout.
  EventChannel events;
  ConnectionId id;  ///< With its queue pair in id->qp.
  std::uint32_t inline_bytes = 0;
  std::uint64_t requests_address = 0;
  std::uint32_t requests_rkey = 0;
};

/// The client's end of a queue pair, at an address that stays. Made before it is connected: its
/// receives must be there when the executor's first word comes. Thread rule of ClientChannel;
/// completed() is called by whoever polls the completion queue.
class ClientLink {
 public:
  ClientLink(ClientParts parts, std::shared_ptr<Arena> arena, std::uint32_t slots,
             const WaitPolicy& policy, std::function<bool()> peer_gone);
  ClientLink(const ClientLink&) = delete;
  ClientLink& operator=(const ClientLink&) = delete;
  ~ClientLink();

  [[nodiscard]] ClientParts& parts() noexcept { return parts_; }
  /// Makes the queue pair, in parts().id, and fills its receive queue.
  Result<void> make_queue_pair();
  /// The executor has accepted: calls can be submitted.
  void connected(const Welcome& welcome) noexcept;

  [[nodiscard]] Status submit(const Request& request, Ticket& ticket) noexcept;
  [[nodiscard]] Status poll(Ticket ticket, ReplyView& reply) noexcept;
  [[nodiscard]] Status wait(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept;
  [[nodiscard]] bool check_peer() noexcept;
  void close() noexcept;
  [[nodiscard]] bool is_open() const noexcept {
    return end_.load(std::memory_order_relaxed) == Status::kOk;
  }
  [[nodiscard]] std::uint32_t slots() const noexcept { return mask_ + 1; }
  [[nodiscard]] std::uint32_t in_flight() const noexcept { return in_flight_; }

  /// With the completion queue's lock.
  void completed(const ibv_wc& completion) noexcept;

 private:
  struct Pending {
    void* out = nullptr;
    std::uint64_t out_capacity = 0;
    std::uint32_t sequence = 0;
    bool busy = false;
    /// What completed() leaves for collect(): the two words, then the flag (release).
    std::atomic<bool> replied{false};
    std::uint32_t reply_word = 0;
    std::uint32_t reply_bytes = 0;
  };

  [[nodiscard]] std::uint64_t offset_of(const void* pointer) const noexcept {
    return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(pointer) -
                                      reinterpret_cast<std::uintptr_t>(arena_base_));
  }
  [[nodiscard]] bool in_arena(const void* pointer, std::uint64_t size) const noexcept {
    const std::uint64_t offset = offset_of(pointer);
    return offset <= arena_size_ && size <= arena_size_ - offset;
  }
  /// Makes sure that these bytes of the arena are registered.
  [[nodiscard]] bool covered(const void* pointer, std::uint64_t size) noexcept {
    const std::uint64_t end = offset_of(pointer) + size;
    if (end <= registered_) [[likely]]
      return true;
    return cover(end);
  }
  [[nodiscard]] bool cover(std::uint64_t end) noexcept;
  [[nodiscard]] bool make_room() noexcept;
  [[nodiscard]] bool post(ibv_send_wr& work) noexcept;
  void refill() noexcept;
  void collect(Pending& pending, ReplyView& reply) noexcept;
  void collect_line(const Pending& pending, ReplyView& reply) noexcept;
  Status end_of_channel(Pending& pending, ReplyView& reply) noexcept;
  void end(Status status) noexcept;
  void read_events() noexcept;
  void keep_alive() noexcept;
  Status wait_long(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept;
  bool wait_step(Pending& pending, base::Ticks now, base::Ticks& spin_since, base::Ticks& checked,
                 base::Deadline deadline) noexcept;

  // What the hot path reads, together.
  ibv_qp* pair_ = nullptr;
  Completions* completions_;
  Pending* pending_;
  std::byte* arena_base_;
  std::uint64_t arena_size_;
  std::uint64_t registered_ = 0;  ///< Bytes of the arena's start.
  std::byte* staging_;
  std::byte* replies_;
  std::uint64_t requests_ = 0;  ///< The worker's ring, in its address space.
  std::uint32_t requests_rkey_ = 0;
  std::uint32_t memory_lkey_;
  std::uint32_t arena_key_ = 0;  ///< Local and remote keys are different numbers.
  std::uint32_t arena_lkey_ = 0;
  std::uint32_t mask_;
  std::uint32_t next_ = 1;
  std::uint32_t in_flight_ = 0;
  std::uint32_t inline_bytes_;
  std::uint32_t number_ = 0;  ///< In the completion queue.
  std::uint32_t sends_ = 0;   ///< Posted so far.
  std::uint32_t unsignalled_ = 0;
  std::uint32_t receives_used_ = 0;
  std::atomic<std::uint32_t> done_{
      0};                         ///< sends_ as of the last completion; written by completed().
  std::uint32_t sends_done_ = 0;  ///< A copy of it.
  QueueDepths depths_;
  OutputPlace last_output_{};             ///< The one the worker has.
  std::atomic<Status> end_{Status::kOk};  ///< kOk while open, then what calls under way get.

  WaitPolicy policy_;
  Contention contention_;
  std::function<bool()> peer_gone_;
  ClientParts parts_;
  std::shared_ptr<Arena> arena_;
  std::vector<std::shared_ptr<const ArenaDomain::Part>>
      old_parts_;  ///< Calls under way may use them.
  std::vector<Pending> pending_storage_;
  std::vector<ibv_recv_wr> receives_;  ///< A chain of one batch.
  base::Ticks last_keep_alive_ = 0;
  std::array<char, kErrorBytes> error_{};
};

inline Status ClientLink::submit(const Request& request, Ticket& ticket) noexcept {
  const std::uint32_t sequence = next_;
  const std::uint32_t slot = sequence & mask_;
  Pending& pending = pending_[slot];
  const Status end = end_.load(std::memory_order_relaxed);
  if (pending.busy) return end == Status::kOk ? Status::kAgain : Status::kClosed;
  if (end != Status::kOk) [[unlikely]]
    return Status::kClosed;

  std::byte* const stage = staging_ + slot * kStagingStride;
  RequestWord word{request.function, 0, request.traced, false, sequence & kSequenceBits};
  std::size_t start = kPayloadAt;
  std::size_t stop = kPayloadAt;
  std::size_t inline_room = kInlineBytes;
  OutputPlace output{};
  const bool output_inline = request.out_capacity <= kInlineBytes;
  if (!output_inline) {
    if (!in_arena(request.out, request.out_capacity)) return Status::kInvalid;
    inline_room = kInlineBytesBesideOffset;
  }
  const bool input_inline = request.in_size <= inline_room;
  if (!input_inline) {
    if (!in_arena(request.in, request.in_size)) return Status::kInvalid;
    if (!covered(request.in, request.in_size)) return Status::kInvalid;
  }
  if (output_inline) {
    word.output = static_cast<std::uint32_t>(request.out_capacity);
  } else {
    if (!covered(request.out, request.out_capacity)) return Status::kInvalid;
    output = {reinterpret_cast<std::uintptr_t>(request.out), request.out_capacity, arena_key_, 0};
    word.output = output == last_output_ ? kOutputAsBefore : kOutputPlaced;
    if (word.output == kOutputPlaced) {
      std::memcpy(stage + kOutputPlaceAt, &output, sizeof(output));
      start = kOutputPlaceAt;
    }
  }
  ibv_sge pieces[2];
  ibv_send_wr work;
  work.num_sge = 0;
  std::uint64_t length = 0;
  const bool at_its_place = !input_inline && request.in_size > kSlotPayload;
  if (at_its_place) [[unlikely]] {
    const InputPlace input{reinterpret_cast<std::uintptr_t>(request.in), request.in_size,
                           arena_key_, 0};
    std::memcpy(stage + kInputPlaceAt, &input, sizeof(input));
    word.has_input_place = true;
    stop = start == kOutputPlaceAt ? kPayloadAt : kOutputPlaceAt;
    start = kInputPlaceAt;
  } else if (input_inline && request.in_size != 0) {
    if (request.in_size == 8) {
      std::memcpy(stage + kPayloadAt, request.in, 8);
    } else {
      std::memcpy(stage + kPayloadAt, request.in, request.in_size);
    }
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
  work.wr.rdma.remote_addr = requests_ + slot * kRequestStride + start;
  work.wr.rdma.rkey = requests_rkey_;

  pending.out = request.out;
  pending.out_capacity = request.out_capacity;
  pending.sequence = sequence;
  pending.busy = true;
  pending.replied.store(false, std::memory_order_relaxed);
  if (!post(work)) [[unlikely]] {
    pending.busy = false;
    return end_.load(std::memory_order_relaxed) == Status::kOk ? Status::kAgain : Status::kClosed;
  }
  if (word.output == kOutputPlaced) last_output_ = output;
  ++in_flight_;
  next_ = sequence + 1;
  ticket.sequence = sequence;
  return Status::kOk;
}

inline bool ClientLink::post(ibv_send_wr& work) noexcept {
  if (sends_ - sends_done_ >= depths_.sends && !make_room()) [[unlikely]]
    return false;
  ++sends_;
  if (++unsignalled_ >= depths_.signal_every) {
    work.send_flags |= IBV_SEND_SIGNALED;
    unsignalled_ = 0;
  }
  // With how many sends have ended when this one has.
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
  pending.busy = false;
  --in_flight_;
  if (word.has_line) [[unlikely]] {
    ReplyView line;
    collect_line(pending, line);
    reply = line;
    return;
  }
  const std::uint64_t size = pending.reply_bytes;
  reply.exec_ns = unpack_time(word.packed_time);
  if (size > pending.out_capacity) [[unlikely]] {  // an honest worker says kOutputTooLarge
    reply.status = Status::kLost;
    reply.size = 0;
    reply.error = "the executor's reply is longer than the output it was given";
    return;
  }
  reply.status = Status::kOk;
  reply.size = size;
  if (pending.out_capacity > kInlineBytes || size == 0) return;
  const std::byte* from = replies_ + (pending.sequence & mask_) * kReplyStride;
  if (size == 8) {
    std::memcpy(pending.out, from, 8);
  } else {
    std::memcpy(pending.out, from, size);
  }
}

inline Status ClientLink::poll(Ticket ticket, ReplyView& reply) noexcept {
  Pending& pending = pending_[ticket.sequence & mask_];
  if (!pending.busy || pending.sequence != ticket.sequence) [[unlikely]]
    return Status::kInvalid;
  if (!pending.replied.load(std::memory_order_acquire)) {
    completions_->poll();
    if (!pending.replied.load(std::memory_order_acquire)) {
      return is_open() ? Status::kAgain : end_of_channel(pending, reply);
    }
  }
  collect(pending, reply);
  return Status::kOk;
}

inline Status ClientLink::wait(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept {
  Pending& pending = pending_[ticket.sequence & mask_];
  if (!pending.busy || pending.sequence != ticket.sequence) [[unlikely]]
    return Status::kInvalid;
  // Without pauses: a poll of the queue is pause enough.
  for (std::uint32_t i = 0; i < kPollsBeforeClock; ++i) {
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
