#pragma once

// What a client keeps of a queue pair. Its hot path is in verbs_client_datapath.hpp.

#include <transport/common/client_wait.hpp>
#include <transport/common/request_check.hpp>
#include <transport/common/unsent.hpp>
#include <transport/contract.hpp>
#include <transport/verbs/verbs_arena.hpp>
#include <transport/verbs/verbs_completions.hpp>
#include <transport/verbs/verbs_wire.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sublet::transport::verbs {

/// What a queue pair that has been connected consists of.
struct ClientParts {
  // First, so that they end last: the connection manager closes a device that was removed with the
  // last identifier.
  EventChannel events;
  ConnectionId id;  ///< With its queue pair in id->qp.
  std::shared_ptr<ArenaDomain> domain;
  std::shared_ptr<const ArenaDomain::Part> part;
  std::shared_ptr<Completions> completions;
  Registered memory;  ///< Of ClientLayout.
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
  enum class State : std::uint8_t { kFree, kUnsent, kUnderWay };
  struct Pending {
    void* out = nullptr;
    std::uint64_t out_capacity = 0;
    std::uint32_t sequence = 0;
    State state = State::kFree;
    bool same_slot = false;  ///< See RequestWord.
    bool unusable = false;   ///< Its memory could not be registered, see unusable_.
    /// What completed() leaves for collect(): the two words, then the flag (release).
    std::atomic<bool> replied{false};
    std::uint32_t reply_word = 0;
    std::uint32_t reply_bytes = 0;
  };

  /// Of a call under way.
  [[nodiscard]] std::uint32_t slot_of(std::uint32_t sequence) const noexcept {
    return (sequence - shift_) & mask_;
  }
  [[nodiscard]] bool under_way(const Pending& pending, Ticket ticket) const noexcept {
    return pending.state == State::kUnderWay && pending.sequence == ticket.sequence;
  }
  /// How much of the arena, from its start, the request needs registered.
  [[nodiscard]] static std::uint64_t needed(const Request& request,
                                            const Placement& placement) noexcept {
    const std::uint64_t out_end =
        placement.out_is_inline ? 0 : placement.out_offset + request.out_capacity;
    const std::uint64_t in_end = placement.in_is_inline ? 0 : placement.in_offset + request.in_size;
    return std::max(out_end, in_end);
  }
  [[nodiscard]] bool cover(std::uint64_t end) noexcept;
  /// False when there is no room in the send queue now, or the channel has ended.
  [[nodiscard]] bool send(std::uint32_t sequence, const Request& request,
                          const Placement& placement) noexcept;
  [[nodiscard]] bool send_refused(std::uint32_t sequence, const Request& request) noexcept;
  void send_unsent() noexcept;
  Status poll_other(Ticket ticket, ReplyView& reply) noexcept;
  [[nodiscard]] bool has_room() noexcept {
    if (sends_ - sends_done_ < depths_.sends) [[likely]]
      return true;
    sends_done_ = done_.load(std::memory_order_relaxed);
    return sends_ - sends_done_ < depths_.sends;
  }
  [[nodiscard]] bool post(ibv_send_wr& work) noexcept;
  void refill() noexcept;
  void collect(Pending& pending, ReplyView& reply) noexcept;
  void collect_line(const Pending& pending, ReplyView& reply) noexcept;
  Status end_of_channel(Pending& pending, ReplyView& reply) noexcept;
  void end(Status status) noexcept;
  void drain() noexcept;
  void read_events() noexcept;
  void keep_alive() noexcept;
  Status wait_long(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept;

  // For ClientWait.
  friend class transport::ClientWait;
  static constexpr std::uint32_t kPollsPerClock = tuning::kPollsPerClock;
  static constexpr bool kPausesBetweenPolls = false;
  void sleep_for(Ticket ticket, std::chrono::nanoseconds limit) noexcept;
  [[nodiscard]] bool has_ended(Ticket ticket) const noexcept {
    const Pending& pending = pending_[slot_of(ticket.sequence)];
    return !is_open() ||
           (pending.state == State::kUnderWay && pending.replied.load(std::memory_order_acquire));
  }
  [[nodiscard]] static std::uint64_t parts_moved() noexcept { return 0; }

  // What the hot path reads, together.
  ibv_qp* pair_ = nullptr;
  Completions* completions_;
  Pending* pending_;
  ArenaRange arena_range_;
  std::uint64_t registered_ = 0;  ///< Bytes of the arena's start.
  std::byte* staging_;
  std::byte* replies_;
  std::uint64_t requests_ = 0;  ///< The worker's ring, in its address space.
  std::uint32_t requests_rkey_ = 0;
  std::uint32_t memory_lkey_;
  std::size_t slot_payload_ = 0;  ///< Of the worker's slots.
  std::size_t stride_ = 0;
  std::uint32_t arena_key_ = 0;  ///< Local and remote keys are different numbers.
  std::uint32_t arena_lkey_ = 0;
  std::uint32_t mask_;
  std::uint32_t next_ = 1;
  std::uint32_t shift_ = 0;  ///< Changes only while no call is under way.
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

  Unsent unsent_;
  std::string unusable_;  ///< Why memory could not be registered.
  ClientWait wait_;
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

}  // namespace sublet::transport::verbs
