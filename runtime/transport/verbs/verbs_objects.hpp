#pragma once

// Owners of what libibverbs and librdmacm hand out, and errors in words.

#include <base/shared_memory.hpp>
#include <sublet/result.hpp>
#include <transport/verbs/verbs_device_state.hpp>

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include <cstddef>
#include <memory>
#include <string>

namespace sublet::transport::verbs {

namespace detail {
template <auto Destroy>
struct Destroyer {
  template <class T>
  void operator()(T* object) const noexcept {
    Destroy(object);
  }
};
}  // namespace detail

/// Keeps what is known of the device for as long as somebody has a domain of it.
struct DomainDestroyer {
  std::shared_ptr<DeviceState> device{};
  void operator()(ibv_pd* domain) const noexcept { ibv_dealloc_pd(domain); }
};
using Domain = std::unique_ptr<ibv_pd, DomainDestroyer>;
using Region = std::unique_ptr<ibv_mr, detail::Destroyer<&ibv_dereg_mr>>;
/// ibv_dealloc_mw has no linkage that a template argument could name.
struct WindowDestroyer {
  void operator()(ibv_mw* window) const noexcept { ibv_dealloc_mw(window); }
};
using Window = std::unique_ptr<ibv_mw, WindowDestroyer>;
using Queue = std::unique_ptr<ibv_cq, detail::Destroyer<&ibv_destroy_cq>>;
using QueuePair = std::unique_ptr<ibv_qp, detail::Destroyer<&ibv_destroy_qp>>;
using WakeChannel = std::unique_ptr<ibv_comp_channel, detail::Destroyer<&ibv_destroy_comp_channel>>;
using EventChannel =
    std::unique_ptr<rdma_event_channel, detail::Destroyer<&rdma_destroy_event_channel>>;
using ConnectionId = std::unique_ptr<rdma_cm_id, detail::Destroyer<&rdma_destroy_id>>;

/// "attempted: what errno says". Locked memory that runs out is named with its limit and the
/// remedy.
[[nodiscard]] tl::unexpected<Error> verbs_error(ErrorKind kind, const std::string& attempted,
                                                int number);

Result<Domain> make_domain(ibv_context* device);
Result<Region> register_memory(ibv_pd* domain, void* start, std::size_t size, int access);
Result<WakeChannel> make_wake_channel(ibv_context* device);
Result<Queue> make_queue(ibv_context* device, std::uint32_t entries, ibv_comp_channel* channel);
/// Its descriptor does not block.
Result<EventChannel> make_event_channel();

/// See DeviceState. Each remembers for as long as there is a domain of the device.
[[nodiscard]] std::uint32_t max_inline(ibv_context* device);
[[nodiscard]] bool device_is_dead(ibv_context* device);

/// Memory of one process that its device may use. Moving it keeps the addresses.
struct Registered {
  base::SharedMemory memory;
  Region region;

  static Result<Registered> make(ibv_pd* domain, const std::string& name, std::size_t size,
                                 int access);
  [[nodiscard]] std::byte* data() const noexcept { return memory.data(); }
};

}  // namespace sublet::transport::verbs
