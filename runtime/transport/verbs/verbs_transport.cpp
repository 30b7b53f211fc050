#include <transport/verbs/verbs_devices.hpp>
#include <transport/verbs/verbs_transport.hpp>

#include <utility>

namespace sublet::transport::verbs {

static_assert(transport::Transport<Transport>);

Finding Transport::state() {
  if (std::string why = why_unavailable(); !why.empty()) return {false, std::move(why)};
  std::string text = "RDMA at";
  for (const std::string& address : active_addresses()) text += " " + address;
  return {true, std::move(text)};
}

Finding Transport::recommended() {
  if (std::string why = why_unavailable(); !why.empty()) return {false, std::move(why)};
  return {true, "this node has an active RDMA port"};
}

std::string Transport::listen_at(const ListenPlaces& places) {
  return places.device.empty() ? places.host : places.device;
}

}  // namespace sublet::transport::verbs
