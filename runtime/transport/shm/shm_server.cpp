// The worker's slow paths: sleeping, failures, the channel's end.

#include <transport/shm/shm_server_datapath.hpp>

#include <utility>

namespace sublet::transport::shm {

static_assert(transport::ServerChannel<ServerChannel>);

ServerChannel::ServerChannel(std::shared_ptr<base::SharedMemory> memory,
                             std::shared_ptr<const base::SharedMemory> arena, const Terms& terms)
    : arena_range_{arena->data(), arena->size()},
      mask_(terms.slots - 1),
      next_(terms.first_sequence),
      fences_(terms.fences),
      memory_(std::move(memory)),
      arena_(std::move(arena)) {
  const Layout layout{terms.slots};
  ring_ = at<Slot>(memory_->data(), layout.ring());
  worker_sleep_ = at<SleepWord>(memory_->data(), layout.worker_sleep());
  client_sleep_ = at<SleepWord>(memory_->data(), layout.client_sleep());
}

std::uint16_t ServerChannel::write_error(std::string_view error) noexcept {
  const Layout layout{mask_ + 1};
  auto& text = at<ErrorText>(memory_->data(), layout.errors())[slot_].text;
  const std::size_t size = std::min(error.size(), text.size());
  for (std::size_t i = 0; i < size; ++i) text[i] = error[i];  // memcpy need not be signal-safe
  return static_cast<std::uint16_t>(size);
}

void ServerChannel::complete_dying(std::uint32_t sequence, Status status,
                                   std::string_view error) noexcept {
  Slot& slot = ring_[slot_];
  ReplyLine& line = slot.reply;
  line.status = static_cast<std::uint8_t>(status);
  line.size = 0;
  line.exec_ns = 0;
  line.error_size = write_error(error);
  slot.started = 0;  // else a traced call would report those of an earlier one
  slot.ended = 0;
  store_release(line.sequence, sequence);
  // A real fence pairs with either kind of sleeper.
  wake_if_sleeping(*client_sleep_, FenceMode::kSymmetric);
}

void ServerChannel::sleep(std::chrono::nanoseconds limit) noexcept {
  quiet_ = 0;  // what comes now does not follow the last reply
  sleep_unless(*worker_sleep_, fences_, limit,
               [this] { return !is_open() || requested(slot_) || requested(slot_after()); });
}

void ServerChannel::interrupt() noexcept {
  open_.store(false, std::memory_order_relaxed);
  // Pairs with the fence of sleep(): either it sees the channel closed, or its 1 is seen here.
  // Being rare it costs nothing to wake in any case, which a client that scribbles on the word
  // cannot prevent.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  wake_always(*worker_sleep_);
}

}  // namespace sublet::transport::shm
