// The client's slow paths: large inputs, waiting long, failures, the channel's end.

#include <base/log.hpp>
#include <transport/common/tcp_socket.hpp>
#include <transport/fabric/fabric_client_datapath.hpp>

#include <poll.h>
#include <rdma/fi_errno.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

namespace sublet::transport::fabric {

static_assert(transport::ClientChannel<ClientChannel>);

namespace {

/// When the link has ended, so many looks in vain say that nothing more has come before it.
constexpr int kLastLooks = 64;

/// For so long a client whose endpoint broke waits for the end of the link.
constexpr auto kLastWords = std::chrono::milliseconds(100);

/// How long a sleep may be where the provider cannot wake a sleeper.
constexpr auto kUnwokenSleep = std::chrono::microseconds(100);

/// How long a request may find no room while completions are being read.
constexpr int kPostAttempts = 100'000;

}  // namespace

ClientChannel::ClientChannel(Side side, std::shared_ptr<Arena> arena, const WaitPolicy& policy,
                             std::function<bool()> peer_gone)
    : arena_(std::move(arena)),
      side_(std::move(side)),
      requests_(reinterpret_cast<RequestSlot*>(side_.rings.data())),
      replies_(reinterpret_cast<const ReplySlot*>(side_.rings.data() +
                                                  side_.slots * sizeof(RequestSlot))),
      mirror_(side_.peer.payload),
      mask_(side_.slots - 1),
      pending_(side_.slots),
      operations_(side_.slots),
      policy_(policy),
      peer_gone_(std::move(peer_gone)) {}

ClientChannel::~ClientChannel() {
  if (side_.has_endpoint()) close();
}

bool ClientChannel::cover(std::uint64_t end) noexcept {
  const std::size_t size =
      next_registration(side_.payload_memory.back().remote.size, end, arena_->size());
  auto more =
      side_.endpoint->register_memory(arena_->data(), size, FI_REMOTE_READ | FI_REMOTE_WRITE);
  if (!more) {
    base::log().warn("fabric: {}", more.error().what());
    return false;
  }
  side_.payload_memory.push_back(std::move(*more));
  tell_region_ = true;
  return true;
}

Status ClientChannel::attach_input(const Request& request, std::uint64_t offset, RequestSlot& slot,
                                   Message& message) noexcept {
  if (offset > mirror_.size || request.in_size > mirror_.size - offset) {
    slot.flags |= kFetch;
    return Status::kOk;
  }
  message.payload = request.in;
  message.payload_size = request.in_size;
  message.payload_descriptor = side_.payload_memory.back().descriptor;
  message.payload_address = mirror_.address + offset;
  message.payload_key = mirror_.key;
  if (!side_.endpoint->must_place_first(request.in_size)) [[likely]]
    return Status::kOk;
  // The provider keeps no order: the request follows when its input is there.
  while (side_.endpoint->place(message) == -FI_EAGAIN) {
    progress();
    if (end_ != Status::kOk) return Status::kClosed;
  }
  base::Ticks checked = base::ticks();
  const base::Ticks period = base::TickRate::get().from(tuning::kPeerCheck);
  while (message.operations->payload.under_way) {
    progress();
    if (const base::Ticks now = base::ticks(); now - checked > period) {
      checked = now;
      (void)check_peer();
    }
    if (end_ != Status::kOk) return Status::kClosed;
  }
  return Status::kOk;
}

Status ClientChannel::post(const Message& message) noexcept {
  for (int attempt = 0; attempt < kPostAttempts; ++attempt) {
    const int error = side_.endpoint->post(message, false);
    if (error == 0) [[likely]]
      return Status::kOk;
    if (error != -FI_EAGAIN) {
      // The peer has gone, if libfabric knows it or not.
      base::log().debug("fabric: a request could not be posted: {}", fabric_error(error));
      end_broken();
      return Status::kClosed;
    }
    progress();
    if (end_ != Status::kOk) return Status::kClosed;
  }
  // Nothing goes out: the peer may be gone without the provider saying so, and a caller with no
  // call under way would never ask.
  return check_peer() ? Status::kAgain : Status::kClosed;
}

void ClientChannel::collect_failure(const ReplySlot& slot, std::uint16_t error_size,
                                    ReplyView& reply) noexcept {
  const std::size_t size = std::min<std::size_t>(error_size, error_.size());
  std::memcpy(error_.data(), slot.error.data(), size);
  reply.error = {error_.data(), size};
  // Those two say that a call has not ended, which a reply cannot mean.
  if (reply.status == Status::kAgain || reply.status == Status::kDeadline ||
      reply.status > Status::kDenied) {
    reply.status = Status::kLost;
    reply.error = "the executor's reply has a status that no call can end with";
  }
  if (reply.status != Status::kOutputTooLarge) reply.size = 0;
}

Status ClientChannel::collect_dead(Pending& pending, ReplyView& reply) noexcept {
  const std::uint32_t index = pending.sequence & mask_;
  pending.state = State::kFree;
  --in_flight_;
  reply = ReplyView{};
  reply.status = pending.died_of;
  const auto& words = last_words_[index];
  const std::size_t size = ::strnlen(words.data(), words.size());
  std::memcpy(error_.data(), words.data(), size);
  reply.error = {error_.data(), size};
  return Status::kOk;
}

Status ClientChannel::end_of_channel(Pending& pending, ReplyView& reply) noexcept {
  pending.state = State::kFree;
  --in_flight_;
  reply = ReplyView{};
  reply.status = end_;
  return Status::kOk;
}

void ClientChannel::drain() noexcept {
  for (int in_vain = 0; in_vain < kLastLooks && !side_.endpoint->broken(); ++in_vain) {
    side_.endpoint->progress([&](std::uint32_t number) noexcept {
      in_vain = 0;
      Pending& pending = pending_[number & mask_];
      if (pending.state == State::kUnderWay && pending.sequence == number) {
        pending.state = State::kArrived;
      }
    });
  }
}

void ClientChannel::read_link() noexcept {
  for (;;) {
    const auto left = std::as_writable_bytes(std::span<Dying, 1>(&dying_, 1)).subspan(dying_size_);
    const Received got = receive_some(side_.link->get(), left);
    dying_size_ += got.size;
    if (got.ended) {
      drain();
      if (end_ == Status::kOk) end_ = Status::kLost;
      return;
    }
    if (got.size == 0) return;
    if (dying_size_ < sizeof(dying_)) continue;
    dying_size_ = 0;
    Pending& pending = pending_[dying_.sequence & mask_];
    if (pending.state != State::kUnderWay || pending.sequence != dying_.sequence) continue;
    const auto status = static_cast<Status>(dying_.status);
    const bool ends_a_call = status != Status::kOk && status != Status::kAgain &&
                             status != Status::kDeadline && status <= Status::kDenied;
    pending.died_of = ends_a_call ? status : Status::kLost;
    pending.state = State::kDied;
    if (last_words_.empty()) last_words_.resize(side_.slots);
    auto& words = last_words_[dying_.sequence & mask_];
    const std::size_t size = std::min<std::size_t>(dying_.error_size, words.size());
    words.fill('\0');
    std::memcpy(words.data(), dying_.text.data(), size);
  }
}

void ClientChannel::end_broken() noexcept {
  // The worker may have said on the link what it died of; its end follows.
  while (end_ == Status::kOk) {
    read_link();
    if (end_ != Status::kOk) return;
    pollfd entry{side_.link->get(), POLLIN, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(kLastWords.count()));
    if (ready == 0 || (ready < 0 && errno != EINTR)) end_ = Status::kLost;
  }
}

bool ClientChannel::check_peer() noexcept {
  if (end_ != Status::kOk) return false;
  read_link();
  if (end_ == Status::kOk && side_.endpoint->has_ended()) {
    drain();
    end_broken();
  }
  if (end_ == Status::kOk && peer_gone_ && peer_gone_()) {
    drain();
    end_ = Status::kLost;
  }
  return end_ == Status::kOk;
}

void ClientChannel::close() noexcept {
  if (end_ == Status::kOk) end_ = Status::kClosed;
  // The link first: the executor learns of the end before its endpoint breaks.
  if (side_.link) ::shutdown(side_.link->get(), SHUT_RDWR);
}

Status ClientChannel::wait_long(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept {
  base::Ticks now = base::ticks();
  base::Ticks spin_since = now;
  base::Ticks checked = now;
  contention_.restart(now);
  for (;;) {
    // Each poll takes as long as a hundred of the processor's instructions, or more.
    for (std::uint32_t i = 0; i < 4; ++i) {
      if (const Status status = poll(ticket, reply); status != Status::kAgain) return status;
    }
    now = base::ticks();
    if (deadline.passed(now)) return Status::kDeadline;
    wait_step(ticket, now, spin_since, checked, deadline);
  }
}

void ClientChannel::wait_step(Ticket ticket, base::Ticks now, base::Ticks& spin_since,
                              base::Ticks& checked, base::Deadline deadline) noexcept {
  const base::TickRate& rate = base::TickRate::get();
  if (now - checked > rate.from(tuning::kPeerCheck)) {
    checked = now;
    if (!check_peer()) return;
  }
  const bool cores_short = contention_.observe(now);
  if (cores_short) ::sched_yield();
  const auto patience =
      cores_short ? std::min<std::chrono::nanoseconds>(tuning::kContendedSpin, policy_.spin)
                  : policy_.spin;
  if (now - spin_since <= rate.from(patience)) return;
  // The link wakes the sleeper too: of a death it hears at once.
  sleep(std::min(deadline.left(), policy_.sleep_slice));
  if (!check_peer()) return;
  const base::Ticks awake = base::ticks();
  checked = awake;
  const Pending& pending = pending_[ticket.sequence & mask_];
  if (policy_.spin >= tuning::kDescheduledGap && pending.state == State::kArrived) {
    contention_.served_asleep(now, awake);
  }
  contention_.restart(awake);
}

void ClientChannel::sleep(std::chrono::nanoseconds limit) noexcept {
  if (limit.count() <= 0) return;
  if (!side_.endpoint->may_wait()) {
    progress();
    return;
  }
  const int wait_fd = side_.endpoint->wait_fd();
  if (wait_fd < 0) limit = std::min<std::chrono::nanoseconds>(limit, kUnwokenSleep);
  timespec timeout{};
  timeout.tv_sec = static_cast<time_t>(limit.count() / 1'000'000'000);
  timeout.tv_nsec = static_cast<long>(limit.count() % 1'000'000'000);
  std::array<pollfd, 2> fds{pollfd{side_.link->get(), POLLIN, 0}, pollfd{wait_fd, POLLIN, 0}};
  ::ppoll(fds.data(), wait_fd < 0 ? 1 : 2, &timeout, nullptr);
  progress();
}

}  // namespace sublet::transport::fabric
