// The worker's slow paths: large payloads, sleeping, failures, the channel's end.

#include <base/log.hpp>
#include <transport/common/await_fds.hpp>
#include <transport/fabric/fabric_server_datapath.hpp>

#include <rdma/fi_errno.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <utility>

namespace sublet::transport::fabric {

static_assert(transport::ServerChannel<ServerChannel>);

namespace {

/// How long a sleep may be where the provider cannot wake a sleeper.
constexpr auto kUnwokenSleep = std::chrono::microseconds(100);

/// How many looks that each found something done may delay a sleep.
constexpr int kLooksBeforeSleep = 16;

}  // namespace

ServerChannel::ServerChannel(Side side, base::SharedMemory mirror)
    : mirror_(std::move(mirror)),
      side_(std::move(side)),
      replies_(reinterpret_cast<ReplySlot*>(side_.rings.data())),
      requests_(reinterpret_cast<const RequestSlot*>(side_.rings.data() +
                                                     side_.slots * sizeof(ReplySlot))),
      arena_{},
      mask_(side_.slots - 1),
      arrived_(side_.slots),
      operations_(side_.slots),
      interrupted_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  adopt(side_.peer.payload);
}

ServerChannel::~ServerChannel() {
  // The client learns of the end, and so does the executor's main thread.
  ::shutdown(side_.link->get(), SHUT_RDWR);
}

void ServerChannel::look_at_connection() noexcept {
  if (side_.endpoint->has_ended()) open_.store(false, std::memory_order_relaxed);
}

void ServerChannel::adopt(const Region& arena) noexcept {
  arena_ = arena;
  arena_.size = std::min<std::uint64_t>(arena_.size, mirror_.size());
}

bool ServerChannel::cover(std::uint64_t end) noexcept {
  const std::uint64_t registered = side_.payload_memory.back().remote.size;
  if (end <= registered) return true;
  const std::size_t size = next_registration(registered, end, mirror_.size());
  auto more =
      side_.endpoint->register_memory(mirror_.data(), size, FI_REMOTE_READ | FI_REMOTE_WRITE);
  if (!more) {
    base::log().warn("fabric: the channel ends: {}", more.error().what());
    open_.store(false, std::memory_order_relaxed);
    return false;
  }
  side_.payload_memory.push_back(std::move(*more));
  tell_region_ = true;
  return true;
}

bool ServerChannel::fetch() noexcept {
  const std::uint64_t size = request_.line.in_size;
  std::byte* const to = payload_of(request_.line, kInputOffsetAt, size, usable());
  const bool wants_nothing = (request_.line.flags & kInputInline) != 0 || size == 0;
  if (to == nullptr || wants_nothing) return true;  // what breaks the rules is refused after this
  const auto offset = static_cast<std::uint64_t>(to - mirror_.data());
  if (!cover(offset + size)) return false;
  const int error = side_.endpoint->read(to, size, side_.payload_memory.back().descriptor,
                                         arena_.address + offset, arena_.key, fetching_);
  if (error == 0) {
    awaited_ = &fetching_;
    fetched_ = true;
  } else if (error != -FI_EAGAIN) {
    open_.store(false, std::memory_order_relaxed);
  }
  return false;
}

bool ServerChannel::attach_output(const Invocation& invocation, std::uint64_t size,
                                  Message& message) noexcept {
  const auto* const out = static_cast<const std::byte*>(invocation.out);
  const auto offset = static_cast<std::uint64_t>(out - mirror_.data());
  message.payload = out;
  message.payload_size = std::min(size, invocation.out_capacity);
  if (!cover(offset + message.payload_size)) return false;
  message.payload_descriptor = side_.payload_memory.back().descriptor;
  message.payload_address = arena_.address + offset;
  message.payload_key = arena_.key;
  if (!side_.endpoint->must_place_first(message.payload_size)) [[likely]]
    return true;
  // The provider keeps no order: the reply follows when the output is there.
  while (side_.endpoint->place(message) == -FI_EAGAIN) {
    progress();
    if (!is_open()) return false;
  }
  while (message.operations->payload.under_way) {
    progress();
    if (!is_open()) return false;
  }
  return true;
}

void ServerChannel::post(const Message& message) noexcept {
  // What does not leave at once must have left before the next function runs.
  const bool tell = message.payload_size != 0 || !side_.endpoint->fits_inject(message.head_size);
  for (;;) {
    const int error = side_.endpoint->post(message, tell);
    if (error == 0) [[likely]]
      break;
    if (error != -FI_EAGAIN) {
      base::log().debug("fabric: a reply could not be posted: {}", fabric_error(error));
      open_.store(false, std::memory_order_relaxed);
      return;
    }
    // The client does not take its replies; its death, or interrupt(), ends this.
    progress();
    if (!is_open()) return;
  }
  if (tell) awaited_ = &message.operations->head;
}

void ServerChannel::complete_dying(std::uint32_t sequence, Status status,
                                   std::string_view error) noexcept {
  Dying dying;
  dying.sequence = sequence;
  dying.status = static_cast<std::uint8_t>(status);
  dying.unused = 0;
  const std::size_t size = std::min(error.size(), dying.text.size());
  dying.error_size = static_cast<std::uint16_t>(size);
  for (std::size_t i = 0; i < dying.text.size(); ++i) dying.text[i] = i < size ? error[i] : '\0';
  // The link carries nothing else, so there is room; without, the call is lost, as the executor is.
  (void)::send(side_.link->get(), &dying, sizeof(dying), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void ServerChannel::sleep(std::chrono::nanoseconds limit) noexcept {
  if (limit.count() <= 0) return;
  look_at_connection();
  for (int look = 0; is_open() && !(arrived() && awaited_ == nullptr); ++look) {
    if (side_.endpoint->may_wait()) break;
    progress();
    if (awaited_ != nullptr && !awaited_->under_way) awaited_ = nullptr;
    if (look == kLooksBeforeSleep) return;
  }
  if (!is_open() || (arrived() && awaited_ == nullptr)) return;
  const int wait_fd = side_.endpoint->wait_fd();
  if (wait_fd < 0) limit = std::min<std::chrono::nanoseconds>(limit, kUnwokenSleep);
  // interrupt() counts the eventfd up for good: no later sleep misses it.
  std::array<pollfd, 2> fds{pollfd{interrupted_.get(), POLLIN, 0}, pollfd{wait_fd, POLLIN, 0}};
  await_fds(fds, limit);
}

void ServerChannel::interrupt() noexcept {
  open_.store(false, std::memory_order_relaxed);
  (void)::eventfd_write(interrupted_.get(), 1);
}

}  // namespace sublet::transport::fabric
