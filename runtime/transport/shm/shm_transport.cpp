#include <base/asymmetric_fence.hpp>
#include <transport/shm/shm_transport.hpp>

namespace sublet::transport::shm {

static_assert(transport::Transport<Transport>);

Finding Transport::state() {
  if (base::register_asymmetric_fence()) return {true, "for executors on this node"};
  return {true,
          "for executors on this node; this kernel has no expedited membarrier, so that each call "
          "pays for a fence"};
}

Finding Transport::recommended() {
  return {true, "for executors on this node"};
}

std::string Transport::listen_at(const ListenPlaces&) {
  return {};
}

}  // namespace sublet::transport::shm
