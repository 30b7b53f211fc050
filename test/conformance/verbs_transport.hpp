#pragma once

#include "transport_under_test.hpp"
#include <transport/verbs/verbs_devices.hpp>
#include <transport/verbs/verbs_transport.hpp>

#include <memory>
#include <string>
#include <utility>

namespace sublet::conformance {

/// The first address of a verbs listener.
inline transport::SocketAddress first_address(const std::string& list) {
  const auto first = transport::HostPort::parse(base::split_list(list).at(0)).value_or_throw();
  return transport::SocketAddress::numeric(first.host, first.port).value();
}

/// The verbs transport, over whatever RDMA device there is.
class VerbsTransport : public TransportOf<transport::verbs::Transport> {
 public:
  static constexpr const char* kListenAt = "";  ///< At any device.

  /// Resolves the way to the listener and stops there: what a peer can hold without a greeting,
  /// which travels with the request to connect.
  static std::shared_ptr<void> connect_silently(const std::string& address) {
    struct Silent {
      transport::verbs::EventChannel events;
      transport::verbs::ConnectionId id;
    };
    auto silent = std::make_shared<Silent>();
    silent->events = transport::verbs::make_event_channel().value_or_throw();
    rdma_cm_id* id = nullptr;
    if (rdma_create_id(silent->events.get(), &id, nullptr, RDMA_PS_TCP) != 0) return silent;
    silent->id.reset(id);
    auto target = first_address(address);
    const auto await_event = [&] {
      pollfd ready{silent->events->fd, POLLIN, 0};
      if (::poll(&ready, 1, 10'000) == 1) (void)transport::verbs::next_event(silent->events.get());
    };
    if (rdma_resolve_addr(id, nullptr, target.get(), 1000) == 0) await_event();
    if (rdma_resolve_route(id, 1000) == 0) await_event();
    return silent;
  }
};

}  // namespace sublet::conformance
