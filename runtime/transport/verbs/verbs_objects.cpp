#include <base/log.hpp>
#include <transport/verbs/verbs_objects.hpp>
#include <transport/verbs/verbs_tuning.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace sublet::transport::verbs {
namespace {

std::string memory_limit_text() {
  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  if (limit.rlim_cur == RLIM_INFINITY) return {};
  return "; this process may lock " + std::to_string(limit.rlim_cur / 1024) +
         " KiB of memory, and RDMA needs its buffers locked: raise the limit with 'ulimit -l "
         "unlimited', or with LimitMEMLOCK=infinity for a service, or with 'memlock' in "
         "/etc/security/limits.conf";
}

void never_block(int fd) {
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

std::uint32_t probe_inline(ibv_context* device) {
  Domain domain(ibv_alloc_pd(device));
  Queue queue(ibv_create_cq(device, 1, nullptr, nullptr, 0));
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

}  // namespace

tl::unexpected<Error> verbs_error(ErrorKind kind, const std::string& attempted, int number) {
  std::string text = attempted + ": " + std::strerror(number);
  if (number == ENOMEM || number == EAGAIN || number == EPERM) {
    text += memory_limit_text();
    kind = ErrorKind::kOverloaded;
  }
  return fail(kind, text, number);
}

Result<Domain> make_domain(ibv_context* device) {
  Domain domain(ibv_alloc_pd(device));
  if (!domain) return verbs_error(ErrorKind::kOverloaded, "making a protection domain", errno);
  return domain;
}

Result<Region> register_memory(ibv_pd* domain, void* start, std::size_t size, int access) {
  Region region(ibv_reg_mr(domain, start, size, access));
  if (!region) {
    return verbs_error(ErrorKind::kOverloaded,
                       "registering " + std::to_string(size) + " bytes with the RDMA device",
                       errno);
  }
  return region;
}

Result<WakeChannel> make_wake_channel(ibv_context* device) {
  WakeChannel channel(ibv_create_comp_channel(device));
  if (!channel) return verbs_error(ErrorKind::kOverloaded, "making a completion channel", errno);
  never_block(channel->fd);
  return channel;
}

Result<Queue> make_queue(ibv_context* device, std::uint32_t entries, ibv_comp_channel* channel) {
  Queue queue(ibv_create_cq(device, static_cast<int>(entries), nullptr, channel, 0));
  if (!queue) {
    return verbs_error(ErrorKind::kOverloaded,
                       "making a completion queue of " + std::to_string(entries) + " entries",
                       errno);
  }
  return queue;
}

Result<EventChannel> make_event_channel() {
  EventChannel channel(rdma_create_event_channel());
  if (!channel) {
    return verbs_error(ErrorKind::kUnsupported,
                       "opening the RDMA connection manager (is the module rdma_ucm loaded?)",
                       errno);
  }
  never_block(channel->fd);
  return channel;
}

ConnectionEvent next_event(rdma_event_channel* channel) noexcept {
  rdma_cm_event* event = nullptr;
  return ConnectionEvent(rdma_get_cm_event(channel, &event) == 0 ? event : nullptr);
}

std::uint32_t max_inline(ibv_context* device) {
  static std::mutex mutex;
  static std::map<const ibv_device*, std::uint32_t> known;
  const std::lock_guard lock(mutex);
  const auto [entry, is_new] = known.try_emplace(device->device, 0);
  if (is_new) entry->second = probe_inline(device);
  return entry->second;
}

bool device_is_dead(ibv_context* device) {
  static std::mutex mutex;
  static std::set<ibv_context*> dead;
  const std::lock_guard lock(mutex);
  pollfd ready{device->async_fd, POLLIN, 0};
  // Polled first: the descriptor may be in blocking mode, and nobody else reads it.
  while (!dead.contains(device) && ::poll(&ready, 1, 0) > 0) {
    ibv_async_event event{};
    if ((ready.revents & POLLIN) == 0 || ibv_get_async_event(device, &event) != 0) {
      dead.insert(device);
      break;
    }
    const auto type = event.event_type;
    ibv_ack_async_event(&event);
    base::log().debug("RDMA device {}: {}", ibv_get_device_name(device->device),
                      ibv_event_type_str(type));
    if (type == IBV_EVENT_DEVICE_FATAL) {
      base::log().error("RDMA device {} has failed; its channels are lost",
                        ibv_get_device_name(device->device));
      dead.insert(device);
    }
  }
  return dead.contains(device);
}

Result<Registered> Registered::make(ibv_pd* domain, const std::string& name, std::size_t size,
                                    int access) {
  auto memory = base::SharedMemory::create(name, size, base::SharedMemory::Pages::kSmall);
  if (!memory) return tl::unexpected<Error>(std::move(memory.error()));
  auto region = register_memory(domain, memory->data(), size, access);
  if (!region) return tl::unexpected<Error>(std::move(region.error()));
  return Registered{std::move(*memory), std::move(*region)};
}

}  // namespace sublet::transport::verbs
