#pragma once

// HOT-PATH BUDGET  submit: one line written (the request), one line read that nobody else writes
// (the worker's sleep word). poll: one line read (the reply). No allocation, lock, system call or
// virtual call; about 30 instructions each for a small payload. Slow paths fill a ReplyView of
// their own, so that the caller's stays in registers: one kept in memory is read back in wider
// pieces than it was written in, and waits for the store buffer (5 ns a call).

#include <base/fd.hpp>
#include <base/shared_memory.hpp>
#include <transport/arena.hpp>
#include <transport/common/call_lines.hpp>
#include <transport/common/client_wait.hpp>
#include <transport/common/reply_check.hpp>
#include <transport/contract.hpp>
#include <transport/shm/shm_first_look.hpp>
#include <transport/shm/shm_sleep.hpp>

#include <cstring>
#include <functional>
#include <memory>
#include <vector>

namespace sublet::transport::shm {

/// The client's end of a channel. Owner: the lease's link to one worker. One thread at a time.
class ClientChannel {
 public:
  /// `connection` is readable (end of file) when the worker's process has gone, unless a function
  /// left a copy of it behind: `peer_gone` (ConnectOptions; may be empty) says so then. `memory`
  /// has Layout{terms.slots}.size() bytes.
  ClientChannel(base::Fd connection, std::shared_ptr<base::SharedMemory> memory,
                std::shared_ptr<Arena> arena, const Terms& terms, const WaitPolicy& policy = {},
                std::function<bool()> peer_gone = {});

  [[nodiscard]] Status submit(const Request& request, Ticket& ticket) noexcept;
  [[nodiscard]] Status poll(Ticket ticket, ReplyView& reply) noexcept;
  [[nodiscard]] Status wait(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept;
  /// submit and wait in one, with no deadline but the call's own end.
  [[nodiscard]] Status call(const Request& request, Ticket& ticket, ReplyView& reply) noexcept;
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

  /// Of a call under way.
  [[nodiscard]] std::uint32_t slot_of(std::uint32_t sequence) const noexcept {
    return (sequence - shift_) & mask_;
  }
  [[nodiscard]] bool under_way(std::uint32_t slot, Ticket ticket) const noexcept {
    return pending_[slot].busy && pending_[slot].sequence == ticket.sequence;
  }
  [[nodiscard]] bool replied(std::uint32_t slot, std::uint32_t sequence) const noexcept {
    return load_acquire(ring_[slot].reply.sequence) == sequence;
  }
  [[nodiscard]] Status begin(const Request& request, std::uint32_t& slot) noexcept;
  [[nodiscard]] Status await(std::uint32_t slot, std::uint32_t sequence, ReplyView& reply,
                             base::Deadline deadline) noexcept;
  void collect(std::uint32_t slot, ReplyView& reply) noexcept;
  void collect_failure(const ReplyLine& line, std::uint32_t slot, ReplyView& reply) noexcept;
  Status end_of_channel(Pending& pending, ReplyView& reply) noexcept;
  Status wait_long(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept;

  // For ClientWait.
  friend class transport::ClientWait;
  static constexpr std::uint32_t kPollsPerClock = tuning::kPollsPerClock;
  static constexpr bool kPausesBetweenPolls = true;
  void sleep_for(Ticket ticket, std::chrono::nanoseconds limit) noexcept;
  [[nodiscard]] bool has_ended(Ticket ticket) const noexcept {
    return replied(slot_of(ticket.sequence), ticket.sequence);
  }
  [[nodiscard]] static std::uint64_t parts_moved() noexcept { return 0; }

  // What the hot path reads, together.
  Slot* ring_;
  SleepWord* worker_sleep_;
  ArenaRange arena_range_;
  Pending* pending_;
  std::uint32_t mask_;
  std::uint32_t next_;
  std::uint32_t shift_;  ///< Changes only while no call is under way.
  std::uint32_t in_flight_ = 0;
  FirstLook first_look_;
  FenceMode fences_;
  Status end_ = Status::kOk;  ///< kOk while open, then what calls under way get.

  SleepWord* client_sleep_;
  ClientWait wait_;
  base::Fd connection_;
  std::function<bool()> peer_gone_;
  std::shared_ptr<base::SharedMemory> memory_;
  std::shared_ptr<Arena> arena_;
  std::vector<Pending> pending_storage_;
  std::array<char, kErrorBytes> error_{};
};

[[gnu::always_inline]] inline Status ClientChannel::begin(const Request& request,
                                                          std::uint32_t& slot) noexcept {
  const std::uint32_t sequence = next_;
  const std::uint32_t shift = in_flight_ == 0 ? shift_ + 1 : shift_;
  slot = (sequence - shift) & mask_;
  Pending& pending = pending_[slot];
  if (pending.busy) return end_ == Status::kOk ? Status::kAgain : Status::kClosed;
  if (end_ != Status::kOk) [[unlikely]]
    return Status::kClosed;

  Placement placement;
  if (!place(request, arena_range_, placement)) return Status::kInvalid;
  RequestLine& line = ring_[slot].request;
  fill_line(line, request, placement);
  store_release(line.sequence, sequence | kRequestMark);
  wake_if_sleeping(*worker_sleep_, fences_);

  pending.out = request.out;
  pending.out_capacity = request.out_capacity;
  pending.sequence = sequence;
  pending.busy = true;
  pending.traced = request.traced;
  ++in_flight_;
  next_ = sequence_after(sequence);
  shift_ = shift;
  return Status::kOk;
}

[[gnu::always_inline]] inline Status ClientChannel::submit(const Request& request,
                                                           Ticket& ticket) noexcept {
  std::uint32_t slot;
  const Status status = begin(request, slot);
  if (status == Status::kOk) ticket.sequence = pending_[slot].sequence;
  return status;
}

[[gnu::always_inline]] inline void ClientChannel::collect(std::uint32_t index,
                                                          ReplyView& reply) noexcept {
  Pending& pending = pending_[index];
  const Slot& slot = ring_[index];
  const bool ok = take_line(slot.reply, pending.out, pending.out_capacity, reply);
  pending.busy = false;
  --in_flight_;
  // With a window open the next reply is mostly there, and its line is written to before long.
  if (in_flight_ >= 2) base::prefetch_for_write(&ring_[(index + 1) & mask_]);
  if (!ok) [[unlikely]] {
    ReplyView failed = reply;
    collect_failure(slot.reply, index, failed);
    reply = failed;
  }
  if (pending.traced) {
    reply.started = load_once(slot.started);
    reply.ended = load_once(slot.ended);
  }
}

inline Status ClientChannel::poll(Ticket ticket, ReplyView& reply) noexcept {
  const std::uint32_t slot = slot_of(ticket.sequence);
  if (!under_way(slot, ticket)) [[unlikely]]
    return Status::kInvalid;
  if (!replied(slot, ticket.sequence)) {
    return end_ == Status::kOk ? Status::kAgain : end_of_channel(pending_[slot], reply);
  }
  collect(slot, reply);
  return Status::kOk;
}

[[gnu::always_inline]] inline Status ClientChannel::await(std::uint32_t slot,
                                                          std::uint32_t sequence, ReplyView& reply,
                                                          base::Deadline deadline) noexcept {
  // Just after its request was written the line is still here, so this look costs nothing.
  if (replied(slot, sequence)) {
    collect(slot, reply);
    return Status::kOk;
  }
  for (std::uint32_t gaps = first_look_.gaps(); gaps != 0; --gaps) base::cpu_poll_gap();
  // A round trip of a small call ends within these looks; the clock is not read before.
  for (std::uint32_t look = 0; look < tuning::kPollsPerClock; ++look) {
    if (replied(slot, sequence)) {
      first_look_.found(look);
      collect(slot, reply);
      return Status::kOk;
    }
    base::cpu_pause();
  }
  ReplyView late = reply;
  const Status status = wait_long({sequence}, late, deadline);
  reply = late;
  return status;
}

[[gnu::always_inline]] inline Status ClientChannel::wait(Ticket ticket, ReplyView& reply,
                                                         base::Deadline deadline) noexcept {
  const std::uint32_t slot = slot_of(ticket.sequence);
  if (!under_way(slot, ticket)) [[unlikely]]
    return Status::kInvalid;
  return await(slot, ticket.sequence, reply, deadline);
}

[[gnu::always_inline]] inline Status ClientChannel::call(const Request& request, Ticket& ticket,
                                                         ReplyView& reply) noexcept {
  std::uint32_t slot;
  const std::uint32_t sequence = next_;
  if (const Status status = begin(request, slot); status != Status::kOk) return status;
  ticket.sequence = sequence;
  return await(slot, sequence, reply, base::Deadline::none());
}

}  // namespace sublet::transport::shm
