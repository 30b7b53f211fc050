// The client's slow paths: what the socket did not take at once, large outputs, waiting long,
// failures, the channel's end.

#include <transport/common/tcp_socket.hpp>
#include <transport/tcp/tcp_client_datapath.hpp>

#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <utility>

namespace sublet::transport::tcp {

static_assert(transport::ClientChannel<ClientChannel>);

ClientChannel::ClientChannel(Stream stream, std::shared_ptr<Arena> arena, ClientTerms terms)
    : stream_(std::move(stream)),
      arena_base_(arena->data()),
      arena_size_(arena->size()),
      mask_(terms.slots - 1),
      next_(terms.first_sequence),
      send_next_(terms.first_sequence),
      reply_next_(terms.first_sequence),
      errors_(std::make_unique_for_overwrite<char[]>(terms.slots * kErrorBytes)),
      policy_(terms.wait),
      watch_(terms.peer_timeout),
      peer_gone_(std::move(terms.peer_gone)),
      arena_(std::move(arena)),
      pending_storage_(terms.slots) {
  pending_ = pending_storage_.data();
}

void ClientChannel::send_rest() noexcept {
  while (end_ == Status::kOk && !all_sent()) {
    const Pending& call = pending(send_next_);
    const std::size_t whole = message_size<RequestHeader>(call.request.in_size);
    const ssize_t n =
        send_message(stream_.fd(), call.request, call.in, call.request.in_size, sent_);
    if (n < 0) {
      if (would_block(errno)) return;
      drain();  // replies may have come before the end
      if (end_ == Status::kOk) end(Status::kLost, {});
      return;
    }
    ++pieces_;
    sent_ += static_cast<std::size_t>(n);
    if (sent_ < whole) return;
    sent_ = 0;
    ++send_next_;
  }
}

bool ClientChannel::take_failure(Pending& call) noexcept {
  const std::size_t size = call.reply.error_size;
  if (size > kErrorBytes) {
    broken("the executor's reply is malformed");
    return false;
  }
  if (inbox_.size() - sizeof(ReplyHeader) < size) return false;
  std::memcpy(error_text(call.reply.sequence), inbox_.data() + sizeof(ReplyHeader), size);
  inbox_.consume(sizeof(ReplyHeader) + size);
  finish(call);
  return true;
}

bool ClientChannel::take_large(Pending& call) noexcept {
  inbox_.consume(header_span<ReplyHeader>(call.reply.size));
  const std::size_t there = inbox_.size();
  std::memcpy(call.out, inbox_.data(), there);
  inbox_.consume(there);
  payload_at_ = static_cast<std::byte*>(call.out) + there;
  payload_left_ = call.reply.size - there;
  while (end_ == Status::kOk && payload_left_ != 0 && receive_payload()) {
  }
  return false;  // the box is empty
}

bool ClientChannel::receive_payload() noexcept {
  std::size_t came = 0;
  const Status status = receive_some(stream_.fd(), payload_at_, payload_left_, came);
  if (status == Status::kAgain) return false;
  if (status != Status::kOk) {
    end(Status::kLost, {});
    return false;
  }
  ++pieces_;
  payload_at_ += came;
  payload_left_ -= came;
  if (payload_left_ == 0) finish(pending(reply_next_));
  return true;
}

void ClientChannel::broken(std::string_view why) noexcept {
  end(Status::kLost, why);
}

void ClientChannel::end(Status status, std::string_view why) noexcept {
  end_ = status;
  end_text_ = why;
  stream_.reset();
}

void ClientChannel::collect_failure(const Pending& call, ReplyView& reply) noexcept {
  reply.error = {error_text(call.reply.sequence), call.reply.error_size};
  // Those two say that a call has not ended, which a reply cannot mean.
  if (reply.status == Status::kAgain || reply.status == Status::kDeadline ||
      reply.status > Status::kDenied) {
    reply.status = Status::kLost;
    reply.error = "the executor's reply has a status that no call can end with";
  }
  if (reply.status != Status::kOutputTooLarge) reply.size = 0;
}

Status ClientChannel::end_of_channel(Pending& call, ReplyView& reply) noexcept {
  call.state = State::kFree;
  --in_flight_;
  reply = ReplyView{};
  reply.status = end_;
  reply.error = end_text_;
  return Status::kOk;
}

bool ClientChannel::check_peer() noexcept {
  if (end_ != Status::kOk) return false;
  const bool gone = peer_gone_ && peer_gone_();
  drain();  // the end, whoever tells of it, comes behind the replies
  if (end_ == Status::kOk && gone) {
    end(Status::kLost, "the executor's node is gone");
  }
  if (end_ == Status::kOk && watch_.cut_off(stream_.fd(), std::chrono::steady_clock::now())) {
    end(Status::kLost, "the executor's host does not answer any more");
  }
  return end_ == Status::kOk;
}

void ClientChannel::close() noexcept {
  if (end_ != Status::kOk) return;
  if (in_flight_ != 0) drain();  // replies that came before
  if (end_ == Status::kOk) end(Status::kClosed, {});
}

struct ClientChannel::Patience {
  base::Ticks spin_since;
  base::Ticks checked;
  std::uint64_t pieces;
};

Status ClientChannel::wait_long(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept {
  constexpr int kPollsPerClock = 4;
  base::Ticks now = base::ticks();
  Patience patience{now, now, pieces_};
  contention_.restart(now);
  for (;;) {
    for (int i = 0; i < kPollsPerClock; ++i) {
      if (const Status status = poll(ticket, reply); status != Status::kAgain) return status;
      base::cpu_pause();
    }
    now = base::ticks();
    if (deadline.passed(now)) return Status::kDeadline;
    wait_step(pending(ticket.sequence), now, patience, deadline);
  }
}

void ClientChannel::wait_step(const Pending& call, base::Ticks now, Patience& patience,
                              base::Deadline deadline) noexcept {
  const base::TickRate& rate = base::TickRate::get();
  if (now - patience.checked > rate.from(tuning::kPeerCheck)) {
    patience.checked = now;
    // It also takes what has come: the system would not end a sleep for that any more.
    if (!check_peer() || call.state == State::kDone) return;
  }
  const bool cores_short = contention_.observe(now);
  if (cores_short) ::sched_yield();
  // As long as payload moves, the next piece is near: a sleep for each would cost more than it.
  if (patience.pieces != pieces_) {
    patience.pieces = pieces_;
    patience.spin_since = now;
  }
  const auto spin = cores_short
                        ? std::min<std::chrono::nanoseconds>(tuning::kContendedSpin, policy_.spin)
                        : policy_.spin;
  if (now - patience.spin_since <= rate.from(spin)) return;
  // It ends when a reply comes, when the peer dies, and when there is room for what waits.
  const short events = static_cast<short>(all_sent() ? POLLIN : POLLIN | POLLOUT);
  await_socket(stream_.fd(), events, std::min(deadline.left(), policy_.sleep_slice));
  const base::Ticks awake = base::ticks();
  if (policy_.spin >= tuning::kDescheduledGap) {
    progress();
    if (call.state == State::kDone) contention_.served_asleep(now, awake);
  }
  contention_.restart(awake);
}

}  // namespace sublet::transport::tcp
