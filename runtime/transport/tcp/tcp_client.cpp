// The client's slow paths: what the socket did not take at once, large outputs, waiting long,
// failures, the channel's end.

#include <transport/common/await_fds.hpp>
#include <transport/tcp/tcp_client_datapath.hpp>

#include <poll.h>

#include <utility>

namespace sublet::transport::tcp {

static_assert(transport::ClientChannel<ClientChannel>);

ClientChannel::ClientChannel(Stream stream, std::shared_ptr<Arena> arena, ClientTerms terms)
    : stream_(std::move(stream)),
      arena_range_{arena->data(), arena->size()},
      mask_(terms.slots - 1),
      next_(terms.first_sequence),
      send_next_(terms.first_sequence),
      reply_next_(terms.first_sequence),
      errors_(std::make_unique_for_overwrite<char[]>(terms.slots * kErrorBytes)),
      wait_(terms.wait),
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
  settle_failure(reply, {error_text(call.reply.sequence), call.reply.error_size});
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

Status ClientChannel::wait_long(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept {
  return wait_.run(*this, ticket, reply, deadline);
}

void ClientChannel::sleep_for(Ticket /*ticket*/, std::chrono::nanoseconds limit) noexcept {
  // It ends when a reply comes, when the peer dies, and when there is room for what waits.
  const short events = static_cast<short>(all_sent() ? POLLIN : POLLIN | POLLOUT);
  await_fd(stream_.fd(), events, limit);
  if (end_ == Status::kOk) progress();
}

}  // namespace sublet::transport::tcp
