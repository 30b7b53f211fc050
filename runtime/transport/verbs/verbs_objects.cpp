#include <transport/verbs/verbs_objects.hpp>

#include <fcntl.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>
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
  Domain domain(ibv_alloc_pd(device), DomainDestroyer{DeviceState::of(device)});
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

std::uint32_t max_inline(ibv_context* device) {
  return DeviceState::of(device)->max_inline();
}

bool device_is_dead(ibv_context* device) {
  return DeviceState::of(device)->is_dead();
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
