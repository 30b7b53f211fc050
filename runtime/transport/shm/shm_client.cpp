// The client's slow paths: waiting long, failures, the channel's end.

#include <base/unix_socket.hpp>
#include <transport/shm/shm_client_datapath.hpp>

#include <algorithm>
#include <utility>

namespace sublet::transport::shm {

static_assert(transport::ClientChannel<ClientChannel>);

ClientChannel::ClientChannel(base::Fd connection, std::shared_ptr<base::SharedMemory> memory,
                             std::shared_ptr<Arena> arena, const Terms& terms,
                             const WaitPolicy& policy)
    : arena_range_{arena->data(), arena->size()},
      mask_(terms.slots - 1),
      next_(terms.first_sequence),
      shift_(terms.first_sequence - 1),
      fences_(terms.fences),
      wait_(policy),
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
  settle_failure(reply, {error_.data(), size});
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
  return wait_.run(*this, ticket, reply, deadline);
}

void ClientChannel::sleep_for(Ticket ticket, std::chrono::nanoseconds limit) noexcept {
  // A sleeper hears only of replies: the peer's death ends the sleep with its slice.
  sleep_unless(*client_sleep_, fences_, limit, [&] { return has_ended(ticket); });
}

}  // namespace sublet::transport::shm
