#pragma once

// HOT-PATH BUDGET  submit: one line written (the request), one line read that nobody else writes
// (the worker's sleep word). poll: one line read (the reply). No allocation, lock, system call or
// virtual call; about 30 instructions each for a small payload. Slow paths fill a ReplyView of
// their own, so that the caller's stays in registers: one kept in memory is read back in wider
// pieces than it was written in, and waits for the store buffer (5 ns a call).

#include <base/fd.hpp>
#include <base/shared_memory.hpp>
#include <transport/arena.hpp>
#include <transport/contention.hpp>
#include <transport/contract.hpp>
#include <transport/shm/shm_sleep.hpp>

#include <cstring>
#include <memory>
#include <vector>

namespace sublet::transport::shm {

/// The client's end of a channel. Owner: the lease's link to one worker. One thread at a time.
class ClientChannel {
 public:
  /// `connection` is readable (end of file) when the worker's process has gone. `memory` has
  /// Layout{terms.slots}.size() bytes.
  ClientChannel(base::Fd connection, std::shared_ptr<base::SharedMemory> memory,
                std::shared_ptr<Arena> arena, const Terms& terms, const WaitPolicy& policy = {});

  [[nodiscard]] Status submit(const Request& request, Ticket& ticket) noexcept;
  [[nodiscard]] Status poll(Ticket ticket, ReplyView& reply) noexcept;
  [[nodiscard]] Status wait(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept;
  [[nodiscard]] bool check_peer() noexcept;
  void close() noexcept;
  [[nodiscard]] bool is_open() const noexcept { return end_ == Status::kOk; }
  [[nodiscard]] std::uint32_t slots() const noexcept { return mask_ + 1; }
  [[nodiscard]] std::uint32_t in_flight() const noexcept { return in_flight_; }

 private:
  struct Pending {
    void* out = nullptr;
    std::uint64_t out_capacity = 0;
    std::uint32_t sequence = 0;
    bool busy = false;
    bool traced = false;
  };

  [[nodiscard]] bool replied(Ticket ticket) noexcept {
    return load_acquire(ring_[ticket.sequence & mask_].reply.sequence) ==
           (ticket.sequence ^ kReplyMark);
  }
  void collect(Pending& pending, ReplyView& reply) noexcept;
  void collect_failure(const ReplyLine& line, std::uint32_t slot, ReplyView& reply) noexcept;
  Status end_of_channel(Pending& pending, ReplyView& reply) noexcept;
  Status wait_long(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept;
  bool wait_step(Ticket ticket, base::Ticks now, base::Ticks& spin_since, base::Ticks& checked,
                 base::Deadline deadline) noexcept;

  // What the hot path reads, together.
  Slot* ring_;
  SleepWord* worker_sleep_;
  std::byte* arena_base_;
  std::uint64_t arena_size_;
  Pending* pending_;
  std::uint32_t mask_;
  std::uint32_t next_;
  std::uint32_t in_flight_ = 0;
  FenceMode fences_;
  Status end_ = Status::kOk;  ///< kOk while open, then what calls under way get.

  SleepWord* client_sleep_;
  WaitPolicy policy_;
  Contention contention_;
  base::Fd connection_;
  std::shared_ptr<base::SharedMemory> memory_;
  std::shared_ptr<Arena> arena_;
  std::vector<Pending> pending_storage_;
  std::array<char, kErrorBytes> error_{};
};

namespace detail {

/// Copies up to kInlineBytes; the sizes of one and two words are common and worth a branch each.
inline void copy_inline(void* to, const void* from, std::uint64_t size) noexcept {
  if (size == 8) {
    std::memcpy(to, from, 8);
  } else if (size == 16) {
    std::memcpy(to, from, 16);
  } else {
    std::memcpy(to, from, size);
  }
}

}  // namespace detail

inline Status ClientChannel::submit(const Request& request, Ticket& ticket) noexcept {
  const std::uint32_t sequence = next_;
  const std::uint32_t slot = sequence & mask_;
  Pending& pending = pending_[slot];
  if (pending.busy) return end_ == Status::kOk ? Status::kAgain : Status::kClosed;
  if (end_ != Status::kOk) [[unlikely]]
    return Status::kClosed;

  RequestLine& line = ring_[slot].request;
  std::uint16_t flags = request.traced ? std::uint16_t{kTraced} : std::uint16_t{0};
  std::size_t inline_room = kInlineBytes;
  if (request.out_capacity <= kInlineBytes) {
    flags |= kOutputInline;
  } else {
    const std::uint64_t offset =
        static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(request.out) -
                                   reinterpret_cast<std::uintptr_t>(arena_base_));
    if (offset > arena_size_ || request.out_capacity > arena_size_ - offset) {
      return Status::kInvalid;
    }
    std::memcpy(line.body.data() + kOutputOffsetAt, &offset, sizeof(offset));
    inline_room = kInlineBytesBesideOffset;
  }
  if (request.in_size <= inline_room) {
    flags |= kInputInline;
    if (request.in_size != 0) {
      detail::copy_inline(line.body.data(), request.in, request.in_size);
    }
  } else {
    const std::uint64_t offset =
        static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(request.in) -
                                   reinterpret_cast<std::uintptr_t>(arena_base_));
    if (offset > arena_size_ || request.in_size > arena_size_ - offset) return Status::kInvalid;
    std::memcpy(line.body.data() + kInputOffsetAt, &offset, sizeof(offset));
  }
  line.function = request.function;
  line.flags = flags;
  line.in_size = request.in_size;
  line.out_capacity = request.out_capacity;
  store_release(line.sequence, sequence);
  wake_if_sleeping(*worker_sleep_, fences_);

  pending.out = request.out;
  pending.out_capacity = request.out_capacity;
  pending.sequence = sequence;
  pending.busy = true;
  pending.traced = request.traced;
  ++in_flight_;
  next_ = sequence + 1;
  ticket.sequence = sequence;
  return Status::kOk;
}

[[gnu::always_inline]] inline void ClientChannel::collect(Pending& pending,
                                                          ReplyView& reply) noexcept {
  const Slot& slot = ring_[pending.sequence & mask_];
  const ReplyLine& line = slot.reply;
  const std::uint64_t size = load_once(line.size);
  reply.status = static_cast<Status>(load_once(line.status));
  reply.size = size;
  reply.exec_ns = load_once(line.exec_ns);
  reply.error = {};
  pending.busy = false;
  --in_flight_;
  if (reply.status == Status::kOk) [[likely]] {
    if (size > pending.out_capacity) [[unlikely]] {  // an honest worker says kOutputTooLarge
      reply.status = Status::kLost;
      reply.size = 0;
      reply.error = "the executor's reply is longer than the output it was given";
    } else if (pending.out_capacity <= kInlineBytes && size != 0) {
      detail::copy_inline(pending.out, line.body.data(), size);
    }
  } else {
    ReplyView failed = reply;
    collect_failure(line, pending.sequence & mask_, failed);
    reply = failed;
  }
  if (pending.traced) {
    reply.started = load_once(slot.started);
    reply.ended = load_once(slot.ended);
  }
}

inline Status ClientChannel::poll(Ticket ticket, ReplyView& reply) noexcept {
  Pending& pending = pending_[ticket.sequence & mask_];
  if (!pending.busy || pending.sequence != ticket.sequence) [[unlikely]]
    return Status::kInvalid;
  if (!replied(ticket)) {
    return end_ == Status::kOk ? Status::kAgain : end_of_channel(pending, reply);
  }
  collect(pending, reply);
  return Status::kOk;
}

[[gnu::always_inline]] inline Status ClientChannel::wait(Ticket ticket, ReplyView& reply,
                                                         base::Deadline deadline) noexcept {
  Pending& pending = pending_[ticket.sequence & mask_];
  if (!pending.busy || pending.sequence != ticket.sequence) [[unlikely]]
    return Status::kInvalid;
  std::uint32_t& word = ring_[ticket.sequence & mask_].reply.sequence;
  const std::uint32_t expected = ticket.sequence ^ kReplyMark;
  // A round trip of a small call ends within these polls; the clock is not read before.
  for (std::uint32_t i = 0; i < tuning::kPollsPerClock; ++i) {
    if (load_acquire(word) == expected) {
      collect(pending, reply);
      return Status::kOk;
    }
    base::cpu_pause();
  }
  ReplyView late = reply;
  const Status status = wait_long(ticket, late, deadline);
  reply = late;
  return status;
}

}  // namespace sublet::transport::shm
