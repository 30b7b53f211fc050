#pragma once

// HOT-PATH BUDGET  submit: the request is put together in a slot of our own and posted: one
// libfabric call (see fabric_endpoint.hpp). poll: nothing but a look at the slot when the reply's
// completion has been read, else one libfabric call. No allocation, lock, log or virtual call of
// our own.
//
// PROGRESS  Most providers move data only while the client is in submit, poll or wait. A request
// that fits the network's buffers leaves at once; a larger input travels on in poll and wait.

#include <transport/arena.hpp>
#include <transport/contention.hpp>
#include <transport/contract.hpp>
#include <transport/fabric/fabric_terms.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

namespace sublet::transport::fabric {

/// The client's end of a channel. Owner: the lease's link to one worker. One thread at a time.
class ClientChannel {
 public:
  ClientChannel(Side side, std::shared_ptr<Arena> arena, const WaitPolicy& policy,
                std::function<bool()> peer_gone);
  ClientChannel(ClientChannel&&) = default;
  ClientChannel& operator=(ClientChannel&&) = delete;
  ClientChannel(const ClientChannel&) = delete;
  ClientChannel& operator=(const ClientChannel&) = delete;
  ~ClientChannel();

  [[nodiscard]] Status submit(const Request& request, Ticket& ticket) noexcept;
  [[nodiscard]] Status poll(Ticket ticket, ReplyView& reply) noexcept;
  [[nodiscard]] Status wait(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept;
  [[nodiscard]] bool check_peer() noexcept;
  void close() noexcept;
  [[nodiscard]] bool is_open() const noexcept { return end_ == Status::kOk; }
  [[nodiscard]] std::uint32_t slots() const noexcept { return mask_ + 1; }
  [[nodiscard]] std::uint32_t in_flight() const noexcept { return in_flight_; }

 private:
  enum class State : std::uint8_t { kFree, kUnderWay, kArrived, kDied };
  struct Pending {
    void* out = nullptr;
    std::uint64_t out_capacity = 0;
    std::uint32_t sequence = 0;
    State state = State::kFree;
    Status died_of = Status::kOk;
  };

  void progress() noexcept {
    side_.endpoint->progress([this](std::uint32_t number) noexcept {
      Pending& pending = pending_[number & mask_];
      if (pending.state == State::kUnderWay && pending.sequence == number) {
        pending.state = State::kArrived;
      }
    });
    if (side_.endpoint->broken()) [[unlikely]]
      end_broken();
  }
  [[nodiscard]] bool offset_of(const void* pointer, std::uint64_t size,
                               std::uint64_t& offset) const noexcept {
    offset = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(pointer) -
                                        reinterpret_cast<std::uintptr_t>(arena_->data()));
    return offset <= arena_->size() && size <= arena_->size() - offset;
  }
  [[nodiscard]] Status attach_input(const Request& request, std::uint64_t offset, RequestSlot& slot,
                                    Message& message) noexcept;
  [[nodiscard]] bool cover(std::uint64_t end) noexcept;
  [[nodiscard]] Status post(const Message& message) noexcept;
  void collect(Pending& pending, ReplyView& reply) noexcept;
  void collect_failure(const ReplySlot& slot, std::uint16_t error_size, ReplyView& reply) noexcept;
  Status end_of_channel(Pending& pending, ReplyView& reply) noexcept;
  Status collect_dead(Pending& pending, ReplyView& reply) noexcept;
  Status wait_long(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept;
  void wait_step(Ticket ticket, base::Ticks now, base::Ticks& spin_since, base::Ticks& checked,
                 base::Deadline deadline) noexcept;
  void sleep(std::chrono::nanoseconds limit) noexcept;
  void read_link() noexcept;
  void drain() noexcept;
  void end_broken() noexcept;

  std::shared_ptr<Arena> arena_;  ///< Unmapped after the endpoint is closed.
  Side side_;
  RequestSlot* requests_;
  const ReplySlot* replies_;
  Region mirror_;
  std::uint32_t mask_;
  std::uint32_t next_ = 1;
  std::uint32_t in_flight_ = 0;
  bool tell_region_ = false;  ///< The worker does not know the last region of the arena yet.
  Status end_ = Status::kOk;  ///< kOk while open, then what calls under way get.
  std::vector<Pending> pending_;
  std::vector<MessageOperations> operations_;
  WaitPolicy policy_;
  std::function<bool()> peer_gone_;
  Contention contention_;
  Dying dying_{};
  std::size_t dying_size_ = 0;
  std::vector<std::array<char, kErrorBytes>> last_words_;
  std::array<char, kErrorBytes> error_{};
};

inline Status ClientChannel::submit(const Request& request, Ticket& ticket) noexcept {
  const std::uint32_t sequence = next_;
  const std::uint32_t index = sequence & mask_;
  Pending& pending = pending_[index];
  if (pending.state != State::kFree) {
    return end_ == Status::kOk ? Status::kAgain : Status::kClosed;
  }
  if (end_ != Status::kOk) [[unlikely]]
    return Status::kClosed;

  RequestSlot& slot = requests_[index];
  Message message;
  std::uint16_t flags = request.traced ? std::uint16_t{kTraced} : std::uint16_t{0};
  std::size_t inline_room = kInlineBytes;
  std::uint64_t registered_end = 0;
  message.head_size = kHeadBytes;
  if (request.out_capacity <= kInlineBytes) {
    flags |= kOutputInline;
  } else {
    std::uint64_t offset;
    if (!offset_of(request.out, request.out_capacity, offset)) return Status::kInvalid;
    std::memcpy(slot.body.data() + kOutputOffsetAt, &offset, sizeof(offset));
    message.head_size = kHeadBytes + kInlineBytes;
    inline_room = kInlineBytesBesideOffset;
    registered_end = offset + request.out_capacity;
  }
  std::uint64_t in_offset = 0;
  const bool is_inline = request.in_size <= inline_room;
  if (is_inline) {
    flags |= kInputInline;
    if (request.in_size != 0) std::memcpy(slot.body.data(), request.in, request.in_size);
    message.head_size = std::max<std::size_t>(message.head_size, kHeadBytes + request.in_size);
  } else {
    if (!offset_of(request.in, request.in_size, in_offset)) return Status::kInvalid;
    std::memcpy(slot.body.data() + kInputOffsetAt, &in_offset, sizeof(in_offset));
    message.head_size = std::max(message.head_size, kHeadBytes + sizeof(in_offset));
    registered_end = std::max(registered_end, in_offset + request.in_size);
  }
  if (registered_end > side_.payload_memory.back().remote.size && !cover(registered_end))
      [[unlikely]] {
    return Status::kInvalid;
  }
  slot.sequence = sequence;
  slot.function = request.function;
  slot.flags = flags;
  slot.in_size = request.in_size;
  slot.out_capacity = request.out_capacity;
  message.head = &slot;
  message.head_descriptor = side_.ring_memory.descriptor;
  message.head_address = side_.peer.ring.address + index * sizeof(RequestSlot);
  message.head_key = side_.peer.ring.key;
  message.number = sequence;
  message.operations = &operations_[index];
  if (tell_region_) [[unlikely]] {
    slot.flags |= kNewRegion;
    slot.arena = side_.payload_memory.back().remote;
    message.head_size = offsetof(RequestSlot, arena) + sizeof(Region);
  }
  if (!is_inline) {
    if (const Status status = attach_input(request, in_offset, slot, message);
        status != Status::kOk) [[unlikely]] {
      return status;
    }
  }
  if (const Status status = post(message); status != Status::kOk) [[unlikely]]
    return status;

  tell_region_ = false;
  pending.out = request.out;
  pending.out_capacity = request.out_capacity;
  pending.sequence = sequence;
  pending.state = State::kUnderWay;
  ++in_flight_;
  next_ = sequence + 1;
  ticket.sequence = sequence;
  return Status::kOk;
}

inline void ClientChannel::collect(Pending& pending, ReplyView& reply) noexcept {
  const ReplySlot& slot = replies_[pending.sequence & mask_];
  // The peer may write there at any time: what is checked is a copy.
  struct {
    std::uint32_t sequence;
    std::uint8_t status;
    std::uint8_t flags;
    std::uint16_t error_size;
    std::uint64_t size;
    std::uint64_t exec_ns;
  } head;
  static_assert(sizeof(head) == kHeadBytes);
  std::memcpy(&head, &slot, sizeof(head));
  std::atomic_signal_fence(std::memory_order_seq_cst);
  reply.status = static_cast<Status>(head.status);
  reply.size = head.size;
  reply.exec_ns = head.exec_ns;
  reply.started = 0;
  reply.ended = 0;
  reply.error = {};
  pending.state = State::kFree;
  --in_flight_;
  if (reply.status == Status::kOk) [[likely]] {
    if (head.size > pending.out_capacity) [[unlikely]] {  // an honest worker says kOutputTooLarge
      reply.status = Status::kLost;
      reply.size = 0;
      reply.error = "the executor's reply is longer than the output it was given";
    } else if (pending.out_capacity <= kInlineBytes && head.size != 0) {
      std::memcpy(pending.out, slot.body.data(), head.size);
    }
  } else {
    ReplyView failed = reply;
    collect_failure(slot, head.error_size, failed);
    reply = failed;
  }
  if ((head.flags & kNewRegion) != 0) [[unlikely]]
    mirror_ = slot.mirror;
}

inline Status ClientChannel::poll(Ticket ticket, ReplyView& reply) noexcept {
  Pending& pending = pending_[ticket.sequence & mask_];
  if (pending.state == State::kFree || pending.sequence != ticket.sequence) [[unlikely]]
    return Status::kInvalid;
  if (pending.state == State::kUnderWay) {
    if (end_ == Status::kOk) progress();
    if (pending.state == State::kUnderWay) {
      return end_ == Status::kOk ? Status::kAgain : end_of_channel(pending, reply);
    }
  }
  if (pending.state == State::kDied) [[unlikely]]
    return collect_dead(pending, reply);
  collect(pending, reply);
  return Status::kOk;
}

inline Status ClientChannel::wait(Ticket ticket, ReplyView& reply,
                                  base::Deadline deadline) noexcept {
  // The first polls of a small call, without a look at the clock.
  for (std::uint32_t i = 0; i < tuning::kPollsPerClock; ++i) {
    if (const Status status = poll(ticket, reply); status != Status::kAgain) return status;
  }
  ReplyView late = reply;
  const Status status = wait_long(ticket, late, deadline);
  reply = late;
  return status;
}

}  // namespace sublet::transport::fabric
