#include <base/log.hpp>
#include <transport/verbs/verbs_device_state.hpp>
#include <transport/verbs/verbs_objects.hpp>

#include <poll.h>

#include <vector>

namespace sublet::transport::verbs {
namespace {

std::uint32_t probe_inline(ibv_context* device) {
  const Domain domain(ibv_alloc_pd(device));
  const Queue queue(ibv_create_cq(device, 1, nullptr, nullptr, 0));
  if (!domain || !queue) return 0;
  for (const std::uint32_t wanted : {1024u, 512u, 256u, 220u, 128u, 64u, 32u}) {
    ibv_qp_init_attr init{};
    init.send_cq = queue.get();
    init.recv_cq = queue.get();
    init.qp_type = IBV_QPT_RC;
    init.cap = {1, 1, 1, 1, wanted};
    if (const QueuePair pair(ibv_create_qp(domain.get(), &init)); pair) {
      return init.cap.max_inline_data;  // drivers may grant more
    }
  }
  return 0;
}

struct KnownState {
  const ibv_context* device;
  std::weak_ptr<DeviceState> state;
};

}  // namespace

std::shared_ptr<DeviceState> DeviceState::of(ibv_context* device) {
  // A device is opened by the connection manager, so this is where those who use it meet.
  static std::mutex mutex;
  static std::vector<KnownState> all;
  const std::lock_guard lock(mutex);
  std::erase_if(all, [](const KnownState& known) { return known.state.expired(); });
  for (const KnownState& known : all) {
    if (known.device != device) continue;
    if (auto state = known.state.lock()) return state;
  }
  auto made = std::make_shared<DeviceState>(device);
  all.push_back({device, made});
  return made;
}

std::uint32_t DeviceState::max_inline() {
  const std::lock_guard lock(mutex_);
  if (!max_inline_) max_inline_ = probe_inline(device_);
  return *max_inline_;
}

bool DeviceState::is_dead() noexcept {
  const std::lock_guard lock(mutex_);
  pollfd ready{device_->async_fd, POLLIN, 0};
  // Polled first: the descriptor may be in blocking mode, and nobody else reads it.
  while (!dead_ && ::poll(&ready, 1, 0) > 0) {
    ibv_async_event event{};
    if ((ready.revents & POLLIN) == 0 || ibv_get_async_event(device_, &event) != 0) {
      dead_ = true;
      break;
    }
    const auto type = event.event_type;
    ibv_ack_async_event(&event);
    base::log().debug("RDMA device {}: {}", ibv_get_device_name(device_->device),
                      ibv_event_type_str(type));
    if (type == IBV_EVENT_DEVICE_FATAL) {
      base::log().error("RDMA device {} has failed; its channels are lost",
                        ibv_get_device_name(device_->device));
      dead_ = true;
    }
  }
  return dead_;
}

}  // namespace sublet::transport::verbs
