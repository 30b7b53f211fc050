#pragma once

#include "transport_under_test.hpp"
#include <transport/tcp/tcp_setup.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sublet::conformance {

/// The tcp transport over the loopback interface.
class TcpTransport {
 public:
  using Client = transport::tcp::ClientChannel;
  using Server = transport::tcp::ServerChannel;
  static constexpr bool kSharesMemory = false;
  static constexpr const char* kMappingName = "memfd:sublet";

  class Host {
   public:
    static Result<std::unique_ptr<Host>> open(const HostOptions& options) {
      transport::ListenOptions listening;
      listening.token = options.token;
      listening.workers = options.workers;
      listening.max_slots = options.max_slots;
      listening.max_arena_bytes = options.max_arena_bytes;
      auto listener = transport::tcp::Listener::open(listening, "127.0.0.1");
      if (!listener) return tl::unexpected<Error>(listener.error());
      return std::make_unique<Host>(std::move(*listener));
    }

    explicit Host(std::unique_ptr<transport::tcp::Listener> listener)
        : listener_(std::move(listener)) {}

    [[nodiscard]] std::string address() const { return listener_->address(); }
    void append_poll_fds(std::vector<pollfd>& fds) const { listener_->append_poll_fds(fds); }
    [[nodiscard]] int poll_timeout_ms() const { return listener_->poll_timeout_ms(); }
    void service(const std::function<bool(std::uint32_t)>& may_take,
                 const OnAccepted<Server>& accepted,
                 const std::function<void(std::uint32_t)>& ended) {
      listener_->service(may_take, accepted, ended);
    }

   private:
    std::unique_ptr<transport::tcp::Listener> listener_;
  };

  static std::string why_not() { return {}; }

  static Result<Client> connect(const std::string& address, const ClientOptions& options,
                                std::shared_ptr<transport::Arena> arena) {
    transport::ConnectOptions connecting;
    connecting.address = address;
    connecting.token = options.token;
    connecting.worker = options.worker;
    connecting.slots = options.slots;
    connecting.timeout = options.timeout;
    connecting.wait = options.wait;
    return transport::tcp::connect(connecting, std::move(arena));
  }

  static std::shared_ptr<void> connect_silently(const std::string& address) {
    const auto to = transport::tcp::parse_address(address).value_or_throw();
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    return std::make_shared<base::Fd>(transport::tcp::connect_to(to, end).value_or_throw());
  }
};

}  // namespace sublet::conformance
