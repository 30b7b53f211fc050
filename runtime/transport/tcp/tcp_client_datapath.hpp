#pragma once

// HOT-PATH BUDGET  A small call: one send in submit, one receive that finds the reply; each poll
// before that is one receive that finds nothing. A window of small calls: one send each, one
// receive for all replies that are there. Large payloads go from and to the arena by the kernel's
// own copy. No allocation, lock, log or virtual call.

#include <base/clock.hpp>
#include <transport/arena.hpp>
#include <transport/common/client_wait.hpp>
#include <transport/common/reply_check.hpp>
#include <transport/common/request_check.hpp>
#include <transport/contract.hpp>
#include <transport/tcp/tcp_socket.hpp>
#include <transport/tcp/tcp_stream.hpp>
#include <transport/tcp/tcp_wire.hpp>

#include <cstring>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace sublet::transport::tcp {

/// What a client's end is made with.
struct ClientTerms {
  std::uint32_t slots = tuning::kDefaultSlots;
  WaitPolicy wait{};
  std::function<bool()> peer_gone{};
  std::chrono::milliseconds peer_timeout = tuning::kPeerTimeout;
  /// The first call's number. Another one only where a test wants to see the numbers wrap; the
  /// server's must be the same.
  std::uint32_t first_sequence = 1;
};

/// The client's end of a channel. Owner: the lease's link to one worker. One thread at a time.
///
/// Sending: what the socket does not take at once stays where it lies and goes on, in order, with
/// every later submit, poll and wait. Receiving: whatever comes is put in its place, whichever call
/// is asked for; so the two sides never wait for each other's buffers.
class ClientChannel {
 public:
  /// `stream` has been greeted and welcomed; not blocking.
  ClientChannel(Stream stream, std::shared_ptr<Arena> arena, ClientTerms terms);

  [[nodiscard]] Status submit(const Request& request, Ticket& ticket) noexcept;
  [[nodiscard]] Status poll(Ticket ticket, ReplyView& reply) noexcept;
  [[nodiscard]] Status wait(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept;
  [[nodiscard]] bool check_peer() noexcept;
  void close() noexcept;
  [[nodiscard]] bool is_open() const noexcept { return end_ == Status::kOk; }
  [[nodiscard]] std::uint32_t slots() const noexcept { return mask_ + 1; }
  [[nodiscard]] std::uint32_t in_flight() const noexcept { return in_flight_; }

 private:
  enum class State : std::uint8_t { kFree, kSubmitted, kDone };
  struct Pending {
    const void* in = nullptr;
    void* out = nullptr;
    RequestHeader request{};
    ReplyHeader reply{};
    State state = State::kFree;
  };

  [[nodiscard]] Pending& pending(std::uint32_t sequence) noexcept {
    return pending_[sequence & mask_];
  }
  [[nodiscard]] char* error_text(std::uint32_t sequence) noexcept {
    return errors_.get() + (sequence & mask_) * kErrorBytes;
  }
  [[nodiscard]] bool all_sent() const noexcept { return send_next_ == next_; }

  /// Sends and receives what can be without waiting.
  void progress() noexcept {
    if (!all_sent()) [[unlikely]] {
      send_rest();
      if (end_ != Status::kOk) return;
    }
    (void)receive();
  }
  void send_rest() noexcept;
  /// Takes all that has come.
  void drain() noexcept {
    while (end_ == Status::kOk && receive()) {
    }
  }
  /// False when nothing came.
  bool receive() noexcept {
    if (payload_left_ != 0) [[unlikely]]
      return receive_payload();
    const Status status = inbox_.receive(stream_.fd());
    if (status == Status::kAgain) return false;
    if (status != Status::kOk) [[unlikely]] {
      end(Status::kLost, {});
      return false;
    }
    parse();
    return true;
  }
  bool receive_payload() noexcept;
  void parse() noexcept {
    while (inbox_.size() >= sizeof(ReplyHeader)) {
      ReplyHeader header;
      std::memcpy(&header, inbox_.data(), sizeof(header));
      if (!take_reply(header)) return;
    }
  }
  /// False when more of it has to come first, or the stream is broken.
  [[nodiscard]] bool take_reply(const ReplyHeader& header) noexcept;
  [[nodiscard]] bool take_failure(Pending& call) noexcept;
  [[nodiscard]] bool take_large(Pending& call) noexcept;
  void finish(Pending& call) noexcept {
    call.state = State::kDone;
    ++reply_next_;
  }
  void broken(std::string_view why) noexcept;
  void end(Status status, std::string_view why) noexcept;

  void collect(Pending& call, ReplyView& reply) noexcept;
  void collect_failure(const Pending& call, ReplyView& reply) noexcept;
  Status end_of_channel(Pending& call, ReplyView& reply) noexcept;
  Status wait_long(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept;

  // For ClientWait.
  friend class transport::ClientWait;
  static constexpr std::uint32_t kPollsPerClock = 4;  // each is a system call
  static constexpr bool kPausesBetweenPolls = true;
  void sleep_for(Ticket ticket, std::chrono::nanoseconds limit) noexcept;
  [[nodiscard]] bool has_ended(Ticket ticket) const noexcept {
    return pending_[ticket.sequence & mask_].state == State::kDone;
  }
  [[nodiscard]] std::uint64_t parts_moved() const noexcept { return pieces_; }

  // What the hot path reads, together.
  Stream stream_;
  Inbox inbox_{sizeof(ReplyHeader)};
  Pending* pending_;
  ArenaRange arena_range_;
  std::uint32_t mask_;
  std::uint32_t next_;        ///< The next call's number.
  std::uint32_t send_next_;   ///< The first call that has not been sent completely.
  std::uint32_t reply_next_;  ///< The first call whose reply has not come completely.
  std::uint32_t in_flight_ = 0;
  Status end_ = Status::kOk;  ///< kOk while open, then what calls under way get.

  std::size_t sent_ = 0;             ///< Bytes of call send_next_ that have been sent.
  std::byte* payload_at_ = nullptr;  ///< Where the rest of call reply_next_'s output goes.
  std::uint64_t payload_left_ = 0;   ///< And how much it is; 0: between messages.
  std::uint64_t pieces_ = 0;         ///< Of large payloads, sent or received.
  std::string_view end_text_{};      ///< Why the channel ended, for calls under way.
  std::unique_ptr<char[]> errors_;   ///< kErrorBytes for each slot.
  ClientWait wait_;
  LinkWatch watch_;
  std::function<bool()> peer_gone_;
  std::shared_ptr<Arena> arena_;
  std::vector<Pending> pending_storage_;
};

inline Status ClientChannel::submit(const Request& request, Ticket& ticket) noexcept {
  const std::uint32_t sequence = next_;
  Pending& call = pending(sequence);
  if (call.state != State::kFree) return end_ == Status::kOk ? Status::kAgain : Status::kClosed;
  if (end_ != Status::kOk) [[unlikely]]
    return Status::kClosed;

  Placement placement;
  if (!place(request, arena_range_, placement)) return Status::kInvalid;
  call.in = request.in;
  call.out = request.out;
  call.request = {sequence, request.function,
                  request.traced ? std::uint16_t{kTraced} : std::uint16_t{0}, request.in_size,
                  request.out_capacity};
  call.state = State::kSubmitted;
  const bool nothing_waits = all_sent();
  ++in_flight_;
  next_ = sequence + 1;
  ticket.sequence = sequence;
  if (nothing_waits) [[likely]] {
    const ssize_t sent = send_message(stream_.fd(), call.request, call.in, call.request.in_size);
    if (sent == static_cast<ssize_t>(message_size<RequestHeader>(call.request.in_size)))
        [[likely]] {
      send_next_ = next_;
      return Status::kOk;
    }
    // An error is left for send_rest to meet again: whoever polls then hears of it.
    if (sent > 0) sent_ = static_cast<std::size_t>(sent);
    return Status::kOk;
  }
  send_rest();
  return Status::kOk;
}

inline bool ClientChannel::take_reply(const ReplyHeader& header) noexcept {
  // Also refused: a reply to what has not been sent yet.
  if (header.sequence != reply_next_ || reply_next_ == send_next_) [[unlikely]] {
    broken("the executor answered a call that is not under way");
    return false;
  }
  Pending& call = pending(reply_next_);
  call.reply = header;
  if (header.status != static_cast<std::uint8_t>(Status::kOk)) [[unlikely]]
    return take_failure(call);
  if (header.size > call.request.out_capacity || header.error_size != 0) [[unlikely]] {
    broken(header.error_size != 0 ? "the executor's reply is malformed" : kOverlongReply);
    return false;
  }
  const std::size_t span = header_span<ReplyHeader>(header.size);
  if (inbox_.size() < span + header.size) [[unlikely]] {
    if (call.request.out_capacity > kInlineBytes && inbox_.size() >= span) return take_large(call);
    return false;
  }
  if (header.size != 0) std::memcpy(call.out, inbox_.data() + span, header.size);
  inbox_.consume(span + header.size);
  finish(call);
  return true;
}

inline void ClientChannel::collect(Pending& call, ReplyView& reply) noexcept {
  reply.status = static_cast<Status>(call.reply.status);
  reply.size = call.reply.size;
  reply.exec_ns = call.reply.exec_ns;
  reply.started = 0;  // of another node's clock
  reply.ended = 0;
  reply.error = {};
  if (reply.status != Status::kOk) [[unlikely]]
    collect_failure(call, reply);
  call.state = State::kFree;
  --in_flight_;
}

inline Status ClientChannel::poll(Ticket ticket, ReplyView& reply) noexcept {
  Pending& call = pending(ticket.sequence);
  if (call.state == State::kFree || call.request.sequence != ticket.sequence) [[unlikely]]
    return Status::kInvalid;
  if (call.state != State::kDone) {
    if (end_ == Status::kOk) progress();
    if (call.state != State::kDone) {
      return end_ == Status::kOk ? Status::kAgain : end_of_channel(call, reply);
    }
  }
  collect(call, reply);
  return Status::kOk;
}

inline Status ClientChannel::wait(Ticket ticket, ReplyView& reply,
                                  base::Deadline deadline) noexcept {
  // A round trip of a small call ends within these polls; the clock is not read before. A receive
  // that finds nothing takes as long as ten readings of the clock: there are few of them.
  constexpr int kPolls = 16;
  for (int i = 0; i < kPolls; ++i) {
    if (const Status status = poll(ticket, reply); status != Status::kAgain) return status;
    base::cpu_pause();
  }
  return wait_long(ticket, reply, deadline);
}

}  // namespace sublet::transport::tcp
