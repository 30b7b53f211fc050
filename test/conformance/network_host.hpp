#pragma once

#include "transport_under_test.hpp"
#include <transport/setup.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sublet::conformance {

inline constexpr char kLoopback[] = "127.0.0.1";
inline constexpr char kAnyDevice[] = "";

/// The listener of a network transport, at an address that stands for this machine, as the suites
/// want it.
template <class Listener, class Server, const char* kAt>
class NetworkHost {
 public:
  static Result<std::unique_ptr<NetworkHost>> open(const HostOptions& options) {
    auto listener = Listener::open(listen_options(options), kAt);
    if (!listener) return tl::unexpected<Error>(std::move(listener.error()));
    return std::make_unique<NetworkHost>(std::move(*listener));
  }
  explicit NetworkHost(std::unique_ptr<Listener> listener) : listener_(std::move(listener)) {}

  [[nodiscard]] std::string address() const { return listener_->address(); }
  void append_poll_fds(std::vector<pollfd>& fds) const { listener_->append_poll_fds(fds); }
  [[nodiscard]] int poll_timeout_ms() const { return listener_->poll_timeout_ms(); }
  void service(const std::function<bool(std::uint32_t)>& may_take,
               const OnAccepted<Server>& accepted,
               const std::function<void(std::uint32_t)>& ended) {
    listener_->service(may_take, accepted, ended);
  }

 private:
  std::unique_ptr<Listener> listener_;
};

}  // namespace sublet::conformance
