// The worker's slow paths: large inputs, clients that do not take their replies, sleeping, dying.

#include <base/clock.hpp>
#include <base/log.hpp>
#include <transport/common/await_fds.hpp>
#include <transport/tcp/tcp_server_datapath.hpp>

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <utility>

namespace sublet::transport::tcp {

static_assert(transport::ServerChannel<ServerChannel>);

namespace {

/// A payload buffer's smallest size: a page is touched only when used, a second growth is paid for.
constexpr std::size_t kLeastBuffer = 64u << 10;

/// How long the last words of a dying worker may take: to find room, and to be acknowledged.
constexpr int kLastWordsMs = 100;

void pause_ms(int ms) noexcept {
  (void)::poll(nullptr, 0, ms);
}

/// The system tells the peer of a process's end at once, and forgets what it has not passed on: a
/// reply would be lost to the end that it announces. Async-signal-safe.
void await_acknowledgement(int socket) noexcept {
  for (int waited = 0; waited < kLastWordsMs; ++waited) {
    int left = 0;
    if (::ioctl(socket, SIOCOUTQ, &left) != 0 || left == 0) return;
    pause_ms(1);
  }
}

}  // namespace

bool PayloadBuffer::grow(std::uint64_t size, std::uint64_t limit) noexcept {
  using Pages = base::SharedMemory::Pages;
  // Twice the size each time, so that it soon stops growing.
  std::uint64_t rounded = size < limit / 2 ? std::bit_ceil(size) : limit;
  rounded = std::max<std::uint64_t>(rounded, kLeastBuffer);
  memory_ = base::SharedMemory();  // before the new one: never both at once
  auto memory = base::SharedMemory::create("sublet-tcp-payload", rounded, Pages::kHuge);
  if (!memory) {
    base::log().error("tcp channel: {}; the call that needs it is refused", memory.error().what());
    return false;
  }
  memory_ = std::move(*memory);
  return true;
}

ServerChannel::ServerChannel(std::shared_ptr<const Stream> stream, const ServerTerms& terms)
    : stream_(std::move(stream)),
      limit_(std::max<std::uint64_t>(terms.arena_size, kInlineBytes)),
      next_(terms.first_sequence) {}

bool ServerChannel::begin_payload() noexcept {
  const std::uint64_t size = request_.in_size;
  if (size > in_.size() && !in_.grow(size, limit_)) {
    end();  // the input cannot be taken off the stream
    return false;
  }
  const std::size_t there = std::min<std::uint64_t>(size, inbox_.size());
  std::memcpy(in_.data(), inbox_.data(), there);
  inbox_.consume(there);
  payload_left_ = size - there;
  return payload_left_ == 0 || receive_payload();
}

bool ServerChannel::receive_payload() noexcept {
  while (payload_left_ != 0) {
    std::size_t came = 0;
    std::byte* to = in_.data() + (request_.in_size - payload_left_);
    const Status status = receive_some(stream_->fd(), to, payload_left_, came);
    if (status != Status::kOk) {
      dry_ = true;
      if (status != Status::kAgain) end();
      return false;
    }
    payload_left_ -= came;
  }
  dry_ = false;
  return true;
}

void ServerChannel::send_rest(const ReplyHeader& header, const void* payload, std::size_t size,
                              ssize_t sent) noexcept {
  const base::Ticks patience = base::TickRate::get().from(tuning::kContendedSpin);
  std::size_t done = 0;
  base::Ticks moved = base::ticks();
  for (;;) {
    if (sent > 0) {
      done += static_cast<std::size_t>(sent);
      moved = base::ticks();
    } else if (sent < 0 && !would_block(errno)) {
      return end();
    }
    if (done == message_size<ReplyHeader>(size)) return;
    // The system wakes a sender only when much of its buffer is empty again; a client that reads
    // makes room sooner.
    if (sent < 0 && base::ticks() - moved > patience) {
      await_fd(stream_->fd(), POLLOUT, tuning::kSleepSlice);
    }
    sent = send_message(stream_->fd(), header, payload, size, done);
  }
}

void ServerChannel::complete_dying(std::uint32_t sequence, Status status,
                                   std::string_view error) noexcept {
  std::array<char, sizeof(ReplyHeader) + kErrorBytes> message{};
  ReplyHeader header{};
  header.sequence = sequence;
  header.status = static_cast<std::uint8_t>(status);
  const std::size_t text = std::min(error.size(), kErrorBytes);
  header.error_size = static_cast<std::uint16_t>(text);
  const auto* bytes = reinterpret_cast<const char*>(&header);
  // memcpy need not be signal-safe.
  for (std::size_t i = 0; i < sizeof(header); ++i) message[i] = bytes[i];
  for (std::size_t i = 0; i < text; ++i) message[sizeof(header) + i] = error[i];
  // The worker is in user code, so every earlier reply has been handed over completely.
  std::size_t done = 0;
  for (int waited = 0; waited < kLastWordsMs;) {
    const ssize_t n = ::send(stream_->fd(), message.data() + done, sizeof(header) + text - done,
                             MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && !would_block(errno)) return;
    if (n > 0) done += static_cast<std::size_t>(n);
    if (done == sizeof(header) + text) return await_acknowledgement(stream_->fd());
    pause_ms(1);
    ++waited;
  }
}

void ServerChannel::sleep(std::chrono::nanoseconds limit) noexcept {
  // Requests that came with an earlier one lie in the box, where the system does not see them.
  if (dry_ && is_open()) await_fd(stream_->fd(), POLLIN, limit);
  dry_ = false;  // ask for it once per poll that found nothing
}

}  // namespace sublet::transport::tcp
