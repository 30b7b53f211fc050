// The client's slow paths: large inputs, requests that wait to be sent, waiting long, failures, the
// channel's end.

#include <base/log.hpp>
#include <transport/common/await_fds.hpp>
#include <transport/common/tcp_socket.hpp>
#include <transport/fabric/fabric_client_datapath.hpp>

#include <rdma/fi_errno.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace sublet::transport::fabric {

static_assert(transport::ClientChannel<ClientChannel>);

namespace {

/// After the end of the link: this many looks that find nothing mean that nothing else had come.
constexpr int kLastLooks = 64;

/// How long a client whose endpoint broke waits for the end of the link.
constexpr auto kLastWords = std::chrono::milliseconds(100);

/// How long a sleep may be where the provider cannot wake a sleeper.
constexpr auto kUnwokenSleep = std::chrono::microseconds(100);

/// How long a sleep may be while a request waits to be sent: a provider need not wake a sleeper
/// when it has room again.
constexpr auto kRoomCheck = std::chrono::milliseconds(1);

}  // namespace

ClientChannel::ClientChannel(Side side, std::shared_ptr<Arena> arena, const WaitPolicy& policy,
                             std::function<bool()> peer_gone)
    : arena_(std::move(arena)),
      side_(std::move(side)),
      arena_range_{arena_->data(), arena_->size()},
      requests_(reinterpret_cast<RequestSlot*>(side_.rings.data())),
      replies_(reinterpret_cast<const ReplySlot*>(side_.rings.data() +
                                                  side_.slots * sizeof(RequestSlot))),
      mirror_(side_.peer.payload),
      mask_(side_.slots - 1),
      pending_(side_.slots),
      operations_(side_.slots),
      unsent_(side_.slots),
      wait_(policy),
      peer_gone_(std::move(peer_gone)) {}

ClientChannel::~ClientChannel() {
  if (side_.has_endpoint()) close();
}

// ---- requests that wait to be sent ----

bool ClientChannel::attach_input(const Request& request, std::uint64_t offset,
                                 Message& message) noexcept {
  if (offset > mirror_.size || request.in_size > mirror_.size - offset) {
    requests_[message.number & mask_].line.flags |= kFetch;
    return true;
  }
  message.payload = request.in;
  message.payload_size = request.in_size;
  message.payload_descriptor = side_.payload_memory.back().descriptor;
  message.payload_address = mirror_.address + offset;
  message.payload_key = mirror_.key;
  return !side_.endpoint->must_place_first(request.in_size) || place_input(message);
}

bool ClientChannel::place_input(const Message& message) noexcept {
  // The provider keeps no order: the request follows when its input is there.
  if (placing_ == Placing::kNotBegun) {
    const int error = side_.endpoint->place(message);
    if (error == 0) placing_ = Placing::kUnderWay;
    if (error != 0 && error != -FI_EAGAIN) side_.endpoint->break_off("placing an input", error);
    return false;
  }
  if (message.operations->payload.under_way) return false;
  placing_ = Placing::kDone;
  return true;
}

bool ClientChannel::post(const Message& message) noexcept {
  const int error = side_.endpoint->post(message, false);
  if (error == 0) [[likely]] {
    placing_ = Placing::kNotBegun;
    return true;
  }
  // The peer has gone, if libfabric knows it or not.
  if (error != -FI_EAGAIN) side_.endpoint->break_off("posting a request", error);
  return false;
}

void ClientChannel::send_unsent() noexcept {
  while (!unsent_.empty() && !side_.endpoint->broken()) {
    const std::uint32_t sequence = unsent_.sequence();
    const Request& request = unsent_.request();
    Pending& pending = pending_[sequence & mask_];
    Placement placement;
    (void)place(request, arena_range_, placement);  // submit() has checked it
    const std::uint64_t end = needed(request, placement);
    if (!pending.unusable && !registered(end) && !cover(end)) pending.unusable = true;
    const bool sent =
        pending.unusable ? send_refused(sequence, request) : send(sequence, request, placement);
    if (!sent) return;
    pending.state = State::kUnderWay;
    unsent_.pop();
  }
}

bool ClientChannel::cover(std::uint64_t end) noexcept {
  const std::size_t size =
      next_registration(side_.payload_memory.back().remote.size, end, arena_->size());
  auto more =
      side_.endpoint->register_memory(arena_->data(), size, FI_REMOTE_READ | FI_REMOTE_WRITE);
  if (!more) {
    unusable_ = more.error().what();
    base::log().warn("fabric: {}", unusable_);
    return false;
  }
  side_.payload_memory.push_back(std::move(*more));
  tell_region_ = true;
  return true;
}

/// Sends a request that breaks the rules. The worker takes calls by their numbers, so that one
/// whose memory cannot be used has to travel as well; the worker refuses it.
bool ClientChannel::send_refused(std::uint32_t sequence, const Request& request) noexcept {
  RequestLine& line = requests_[sequence & mask_].line;
  line.sequence = sequence;
  line.function = request.function;
  line.flags = kInputInline | kOutputInline;
  line.in_size = 0;
  line.out_capacity = std::numeric_limits<std::uint64_t>::max();
  return post(message_of(sequence, kHeadBytes));
}

// ---- failures ----

void ClientChannel::collect_failure(const Pending& pending, const ReplySlot& slot,
                                    ReplyView& reply) noexcept {
  const std::string_view text(slot.error.data(), slot.error.size());
  const std::string_view said = pending.unusable ? unusable_ : text;
  const std::size_t most = pending.unusable ? said.size() : load_once(slot.line.error_size);
  const std::size_t size = std::min({most, said.size(), error_.size()});
  std::memcpy(error_.data(), said.data(), size);
  settle_failure(reply, {error_.data(), size});
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
  // An honest peer has no more to say than there are calls.
  int looks = kLastLooks + static_cast<int>(side_.slots);
  for (int in_vain = 0; in_vain < kLastLooks && !side_.endpoint->broken() && looks > 0; --looks) {
    ++in_vain;
    side_.endpoint->progress([&](std::uint32_t number) noexcept {
      in_vain = 0;
      arrived(number);
    });
  }
}

void ClientChannel::read_link() noexcept {
  for (std::uint32_t i = 0; i <= side_.slots; ++i) {
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
    take_last_words();
  }
}

void ClientChannel::take_last_words() noexcept {
  Pending& pending = pending_[dying_.sequence & mask_];
  if (pending.state != State::kUnderWay || pending.sequence != dying_.sequence) return;
  const auto status = static_cast<Status>(dying_.status);
  pending.died_of = is_failure(status) ? status : Status::kLost;
  pending.state = State::kDied;
  if (last_words_.empty()) last_words_.resize(side_.slots);
  auto& words = last_words_[dying_.sequence & mask_];
  const std::size_t size = std::min<std::size_t>(dying_.error_size, words.size());
  words.fill('\0');
  std::memcpy(words.data(), dying_.text.data(), size);
}

/// The worker may have said on the link what it died of, and the link's end follows: for some time
/// the channel stays open to hear of both.
void ClientChannel::end_broken() noexcept {
  read_link();
  if (end_ != Status::kOk) return;
  const base::Ticks now = base::ticks();
  if (broken_since_ == 0) broken_since_ = now;
  if (now - broken_since_ > base::TickRate::get().from(kLastWords)) end_ = Status::kLost;
}

bool ClientChannel::check_peer() noexcept {
  if (end_ != Status::kOk) return false;
  read_link();
  if (end_ == Status::kOk && side_.endpoint->has_ended()) {
    drain();
    side_.endpoint->break_off("the connection has ended", 0);
  }
  if (end_ == Status::kOk && side_.endpoint->broken()) end_broken();
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
  return wait_.run(*this, ticket, reply, deadline);
}

void ClientChannel::sleep_for(Ticket /*ticket*/, std::chrono::nanoseconds limit) noexcept {
  if (side_.endpoint->may_wait()) {
    const int wait_fd = side_.endpoint->wait_fd();
    if (wait_fd < 0) limit = std::min<std::chrono::nanoseconds>(limit, kUnwokenSleep);
    if (!unsent_.empty()) limit = std::min<std::chrono::nanoseconds>(limit, kRoomCheck);
    // The link wakes the sleeper too: of a death it hears at once.
    std::array<pollfd, 2> fds{pollfd{side_.link->get(), POLLIN, 0}, pollfd{wait_fd, POLLIN, 0}};
    await_fds(fds, limit);
  }
  if (end_ == Status::kOk) progress();
  (void)check_peer();
}

}  // namespace sublet::transport::fabric
