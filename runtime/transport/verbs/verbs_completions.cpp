#include <transport/common/await_fds.hpp>
#include <transport/verbs/verbs_client_datapath.hpp>
#include <transport/verbs/verbs_completions.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace sublet::transport::verbs {

Result<std::shared_ptr<Completions>> Completions::of_this_thread(ibv_context* device,
                                                                 const QueueDepths& depths) {
  thread_local std::vector<std::weak_ptr<Completions>> mine;
  std::erase_if(mine, [](const auto& queue) { return queue.expired(); });
  for (const auto& known : mine) {
    auto completions = known.lock();
    if (completions && completions->queue_->context == device &&
        completions->reserve(depths.completions())) {
      return completions;
    }
  }
  ibv_device_attr attributes{};
  if (const int error = ibv_query_device(device, &attributes); error != 0) {
    return verbs_error(ErrorKind::kUnsupported, "asking the RDMA device for its limits", error);
  }
  const auto most = std::min(static_cast<std::uint32_t>(attributes.max_cqe), kMaxCompletions);
  const std::uint32_t entries =
      std::max(depths.completions(), std::min(most, kChannelsPerQueue * depths.completions()));
  auto channel = make_wake_channel(device);
  if (!channel) return tl::unexpected<Error>(std::move(channel.error()));
  auto queue = make_queue(device, entries, channel->get());
  if (!queue) return tl::unexpected<Error>(std::move(queue.error()));
  auto made = std::make_shared<Completions>(std::move(*channel), std::move(*queue), entries);
  (void)made->reserve(depths.completions());
  mine.push_back(made);
  return made;
}

Completions::~Completions() {
  // A queue cannot go while events of it are unacknowledged.
  if (unacknowledged_ > 0) ibv_ack_cq_events(queue_.get(), unacknowledged_);
  queue_.reset();
}

bool Completions::reserve(std::uint32_t completions) noexcept {
  std::uint32_t now = reserved_.load();
  while (completions <= capacity_ - now) {
    if (reserved_.compare_exchange_weak(now, now + completions)) return true;
  }
  return false;
}

void Completions::lock() noexcept {
  while (polling_.exchange(true, std::memory_order_acquire)) base::cpu_pause();
}

std::uint32_t Completions::add(ClientLink& link) {
  lock();
  auto place = std::find(links_.begin(), links_.end(), nullptr);
  if (place == links_.end()) place = links_.insert(place, nullptr);
  *place = &link;
  const auto number = static_cast<std::uint32_t>(place - links_.begin());
  unlock();
  return number;
}

void Completions::remove(std::uint32_t number, std::uint32_t completions) noexcept {
  lock();
  links_[number] = nullptr;
  // What the queue pair has left behind must not meet the next channel of this number.
  while (take() > 0) {
  }
  unlock();
  reserved_.fetch_sub(completions);
}

int Completions::take() noexcept {
  std::array<ibv_wc, kCompletionsPerPoll> done;
  const int count = ibv_poll_cq(queue_.get(), kCompletionsPerPoll, done.data());
  for (int i = 0; i < count; ++i) {
    const ibv_wc& completion = done[static_cast<std::size_t>(i)];
    ClientLink* link = links_[(completion.wr_id & 0xffff'ffff) >> 1];
    if (link != nullptr) link->completed(completion);
  }
  return count;
}

bool Completions::poll() noexcept {
  if (polling_.exchange(true, std::memory_order_acquire)) [[unlikely]]
    return false;  // somebody else does it for us
  const int count = take();
  unlock();
  return count > 0;
}

bool Completions::arm() noexcept {
  if (armed_.load(std::memory_order_relaxed)) return true;
  // Only for replies and failures: those are sent as solicited.
  if (ibv_req_notify_cq(queue_.get(), 1) != 0) return false;
  armed_.store(true, std::memory_order_relaxed);
  return true;
}

void Completions::await_event(int other_fd, std::chrono::nanoseconds limit) noexcept {
  std::array<pollfd, 2> fds{{{channel_->fd, POLLIN, 0}, {other_fd, POLLIN, 0}}};
  if (!await_fds(fds, limit) || fds[0].revents == 0) return;
  ibv_cq* queue = nullptr;
  void* context = nullptr;
  if (ibv_get_cq_event(channel_.get(), &queue, &context) != 0) return;
  armed_.store(false, std::memory_order_relaxed);
  const std::lock_guard lock(events_);
  if (++unacknowledged_ < kEventsPerAck) return;
  ibv_ack_cq_events(queue_.get(), unacknowledged_);
  unacknowledged_ = 0;
}

}  // namespace sublet::transport::verbs
