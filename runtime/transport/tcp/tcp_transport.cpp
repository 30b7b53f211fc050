#include <transport/tcp/tcp_transport.hpp>

namespace sublet::transport::tcp {

static_assert(transport::Transport<Transport>);

Finding Transport::state() {
  return {true, "plain Ethernet"};
}

Finding Transport::recommended() {
  return {true, "for plain Ethernet"};
}

std::string Transport::listen_at(const ListenPlaces& places) {
  return places.host;
}

}  // namespace sublet::transport::tcp
