#pragma once

// HOT-PATH BUDGET  submit: the request is put together in a slot of our own and posted: one
// libfabric call (see fabric_transfers_datapath.hpp). poll: nothing but a look at the slot when the
// reply's completion has been read, else one libfabric call. No allocation, lock, log or virtual
// call of our own.
//
// PROGRESS  Most providers move data only while the client is in submit, poll or wait. A request
// that fits the network's buffers leaves at once; a larger input travels on in poll and wait. So
// does a request that the provider does not take, or whose memory has to be registered first: it is
// kept (see Unsent) and sent by a later poll.

#include <transport/arena.hpp>
#include <transport/common/call_lines.hpp>
#include <transport/common/client_wait.hpp>
#include <transport/common/unsent.hpp>
#include <transport/contract.hpp>
#include <transport/fabric/fabric_terms.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
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
  enum class State : std::uint8_t { kFree, kUnsent, kUnderWay, kArrived, kDied };
  struct Pending {
    void* out = nullptr;
    std::uint64_t out_capacity = 0;
    std::uint32_t sequence = 0;
    State state = State::kFree;
    Status died_of = Status::kOk;
    bool unusable = false;  ///< Its memory could not be registered, see unusable_.
  };
  /// Of an input that must be at its place before its request may follow.
  enum class Placing : std::uint8_t { kNotBegun, kUnderWay, kDone };

  void arrived(std::uint32_t number) noexcept {
    Pending& pending = pending_[number & mask_];
    if (pending.state == State::kUnderWay && pending.sequence == number) {
      pending.state = State::kArrived;
    }
  }
  void progress() noexcept {
    if (side_.endpoint->broken()) [[unlikely]]
      return end_broken();
    side_.endpoint->progress([this](std::uint32_t number) noexcept { arrived(number); });
    if (!unsent_.empty()) [[unlikely]]
      send_unsent();
  }
  /// How much of the arena, from its start, the request needs registered.
  [[nodiscard]] static std::uint64_t needed(const Request& request,
                                            const Placement& placement) noexcept {
    const std::uint64_t out_end =
        placement.out_is_inline ? 0 : placement.out_offset + request.out_capacity;
    const std::uint64_t in_end = placement.in_is_inline ? 0 : placement.in_offset + request.in_size;
    return std::max(out_end, in_end);
  }
  [[nodiscard]] bool registered(std::uint64_t end) const noexcept {
    return end <= side_.payload_memory.back().remote.size;
  }
  /// The request's line, whose first `line_size` bytes have something to say.
  [[nodiscard]] Message message_of(std::uint32_t sequence, std::size_t line_size) noexcept;
  /// False when the provider does not take it now.
  [[nodiscard]] bool send(std::uint32_t sequence, const Request& request,
                          const Placement& placement) noexcept;
  [[nodiscard]] bool attach_input(const Request& request, std::uint64_t offset,
                                  Message& message) noexcept;
  [[nodiscard]] bool place_input(const Message& message) noexcept;
  [[nodiscard]] bool post(const Message& message) noexcept;
  [[nodiscard]] bool send_refused(std::uint32_t sequence, const Request& request) noexcept;
  void send_unsent() noexcept;
  [[nodiscard]] bool cover(std::uint64_t end) noexcept;
  void collect(Pending& pending, ReplyView& reply) noexcept;
  void collect_failure(const Pending& pending, const ReplySlot& slot, ReplyView& reply) noexcept;
  Status end_of_channel(Pending& pending, ReplyView& reply) noexcept;
  Status collect_dead(Pending& pending, ReplyView& reply) noexcept;
  Status wait_long(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept;
  void read_link() noexcept;
  void take_last_words() noexcept;
  void drain() noexcept;
  void end_broken() noexcept;

  // For ClientWait.
  friend class transport::ClientWait;
  static constexpr std::uint32_t kPollsPerClock = 4;  // each is some hundred instructions, or more
  static constexpr bool kPausesBetweenPolls = false;
  void sleep_for(Ticket ticket, std::chrono::nanoseconds limit) noexcept;
  [[nodiscard]] bool has_ended(Ticket ticket) const noexcept {
    return pending_[ticket.sequence & mask_].state == State::kArrived;
  }
  [[nodiscard]] static std::uint64_t parts_moved() noexcept { return 0; }

  std::shared_ptr<Arena> arena_;  ///< Unmapped after the endpoint is closed.
  Side side_;
  ArenaRange arena_range_;
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
  Unsent unsent_;
  Placing placing_ = Placing::kNotBegun;  ///< Of the first unsent request.
  std::string unusable_;                  ///< Why memory could not be registered.
  base::Ticks broken_since_ = 0;          ///< The endpoint is broken and the link is still there.
  ClientWait wait_;
  std::function<bool()> peer_gone_;
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

  Placement placement;
  if (!place(request, arena_range_, placement)) return Status::kInvalid;
  if (unsent_.empty() && registered(needed(request, placement)) &&
      send(sequence, request, placement)) [[likely]] {
    pending.state = State::kUnderWay;
  } else {
    unsent_.push(sequence, request);
    pending.state = State::kUnsent;
  }
  pending.out = request.out;
  pending.out_capacity = request.out_capacity;
  pending.sequence = sequence;
  pending.unusable = false;
  ++in_flight_;
  next_ = sequence + 1;
  ticket.sequence = sequence;
  return Status::kOk;
}

[[gnu::always_inline]] inline Message ClientChannel::message_of(std::uint32_t sequence,
                                                                std::size_t line_size) noexcept {
  const std::uint32_t index = sequence & mask_;
  Message message;
  message.head = &requests_[index];
  message.head_size = line_size;
  message.head_descriptor = side_.ring_memory.descriptor;
  message.head_address = side_.peer.ring.address + index * sizeof(RequestSlot);
  message.head_key = side_.peer.ring.key;
  message.number = sequence;
  message.operations = &operations_[index];
  return message;
}

[[gnu::always_inline]] inline bool ClientChannel::send(std::uint32_t sequence,
                                                       const Request& request,
                                                       const Placement& placement) noexcept {
  RequestSlot& slot = requests_[sequence & mask_];
  fill_line(slot.line, request, placement);
  slot.line.sequence = sequence;
  std::size_t line_size = sizeof(RequestLine);
  if (placement.out_is_inline) {
    line_size = kHeadBytes + (placement.in_is_inline ? request.in_size : sizeof(std::uint64_t));
  }
  Message message = message_of(sequence, line_size);
  if (tell_region_) [[unlikely]] {
    slot.line.flags |= kNewRegion;
    slot.arena = side_.payload_memory.back().remote;
    message.head_size = offsetof(RequestSlot, arena) + sizeof(Region);
  }
  if (!placement.in_is_inline && !attach_input(request, placement.in_offset, message)) {
    return false;
  }
  if (!post(message)) [[unlikely]]
    return false;
  tell_region_ = false;
  return true;
}

inline void ClientChannel::collect(Pending& pending, ReplyView& reply) noexcept {
  const ReplySlot& slot = replies_[pending.sequence & mask_];
  const bool ok = take_line(slot.line, pending.out, pending.out_capacity, reply);
  reply.started = 0;
  reply.ended = 0;
  pending.state = State::kFree;
  --in_flight_;
  if (!ok) [[unlikely]] {
    ReplyView failed = reply;
    collect_failure(pending, slot, failed);
    reply = failed;
  }
  if ((load_once(slot.line.flags) & kNewRegion) != 0) [[unlikely]]
    mirror_ = slot.mirror;
}

inline Status ClientChannel::poll(Ticket ticket, ReplyView& reply) noexcept {
  Pending& pending = pending_[ticket.sequence & mask_];
  if (pending.state == State::kFree || pending.sequence != ticket.sequence) [[unlikely]]
    return Status::kInvalid;
  if (pending.state <= State::kUnderWay) {
    if (end_ == Status::kOk) progress();
    if (pending.state <= State::kUnderWay) {
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
