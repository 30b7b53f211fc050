// The client's slow paths: waiting long, failures, the channel's end.

#include <base/unix_socket.hpp>
#include <transport/shm/shm_client_datapath.hpp>

#include <sched.h>

#include <algorithm>
#include <utility>

namespace sublet::transport::shm {

static_assert(transport::ClientChannel<ClientChannel>);

ClientChannel::ClientChannel(base::Fd connection, std::shared_ptr<base::SharedMemory> memory,
                             std::shared_ptr<Arena> arena, const Terms& terms,
                             const WaitPolicy& policy)
    : arena_base_(arena->data()),
      arena_size_(arena->size()),
      mask_(terms.slots - 1),
      next_(terms.first_sequence),
      shift_(terms.first_sequence - 1),
      fences_(terms.fences),
      policy_(policy),
      connection_(std::move(connection)),
      memory_(std::move(memory)),
      arena_(std::move(arena)),
      pending_storage_(terms.slots) {
  const Layout layout{terms.slots};
  ring_ = at<Slot>(memory_->data(), layout.ring());
  worker_sleep_ = at<SleepWord>(memory_->data(), layout.worker_sleep());
  client_sleep_ = at<SleepWord>(memory_->data(), layout.client_sleep());
  pending_ = pending_storage_.data();
}

void ClientChannel::collect_failure(const ReplyLine& line, std::uint32_t slot,
                                    ReplyView& reply) noexcept {
  const Layout layout{mask_ + 1};
  const auto& text = at<ErrorText>(memory_->data(), layout.errors())[slot].text;
  const std::size_t size = std::min<std::size_t>(load_once(line.error_size), error_.size());
  std::memcpy(error_.data(), text.data(), size);
  reply.error = {error_.data(), size};
  // Those two say that a call has not ended, which a reply cannot mean.
  if (reply.status == Status::kAgain || reply.status == Status::kDeadline ||
      reply.status > Status::kDenied) {
    reply.status = Status::kLost;
    reply.error = "the executor's reply has a status that no call can end with";
  }
  if (reply.status != Status::kOutputTooLarge) reply.size = 0;
}

Status ClientChannel::end_of_channel(Pending& pending, ReplyView& reply) noexcept {
  pending.busy = false;
  --in_flight_;
  reply = ReplyView{};
  reply.status = end_;
  return Status::kOk;
}

bool ClientChannel::check_peer() noexcept {
  if (end_ == Status::kOk && base::peer_has_closed(connection_.get())) end_ = Status::kLost;
  return end_ == Status::kOk;
}

void ClientChannel::close() noexcept {
  if (end_ == Status::kOk) end_ = Status::kClosed;
  connection_.reset();
}

Status ClientChannel::wait_long(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept {
  base::Ticks now = base::ticks();
  base::Ticks spin_since = now;
  base::Ticks checked = now;
  contention_.restart(now);
  for (;;) {
    for (std::uint32_t i = 0; i < tuning::kPollsPerClock; ++i) {
      if (const Status status = poll(ticket, reply); status != Status::kAgain) return status;
      base::cpu_pause();
    }
    now = base::ticks();
    if (deadline.passed(now)) return Status::kDeadline;
    wait_step(ticket, now, spin_since, checked, deadline);
  }
}

bool ClientChannel::wait_step(Ticket ticket, base::Ticks now, base::Ticks& spin_since,
                              base::Ticks& checked, base::Deadline deadline) noexcept {
  const base::TickRate& rate = base::TickRate::get();
  if (now - checked > rate.from(tuning::kPeerCheck)) {
    checked = now;
    if (!check_peer()) return false;
  }
  const bool cores_short = contention_.observe(now);
  if (cores_short) ::sched_yield();
  const auto patience =
      cores_short ? std::min<std::chrono::nanoseconds>(tuning::kContendedSpin, policy_.spin)
                  : policy_.spin;
  if (now - spin_since > rate.from(patience)) {
    // A sleeper hears only of replies: the peer's death ends the sleep with its slice.
    const std::uint32_t slot = slot_of(ticket.sequence);
    const auto limit = std::min(deadline.left(), policy_.sleep_slice);
    sleep_unless(*client_sleep_, fences_, limit, [&] { return replied(slot, ticket.sequence); });
    const base::Ticks awake = base::ticks();
    if (policy_.spin >= tuning::kDescheduledGap && replied(slot, ticket.sequence)) {
      contention_.served_asleep(now, awake);
    }
    contention_.restart(awake);
  }
  return true;
}

}  // namespace sublet::transport::shm
