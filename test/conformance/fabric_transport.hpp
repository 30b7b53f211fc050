#pragma once

#include "transport_under_test.hpp"
#include <transport/fabric/fabric_link.hpp>
#include <transport/fabric/fabric_setup.hpp>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sublet::conformance {

/// How a run of the suites differs from the usual one: what SUBLET_FABRIC_PROVIDER and
/// SUBLET_FABRIC_REGISTER say, or null.
struct FabricTcp {
  static constexpr const char* kProvider = "tcp";
  static constexpr const char* kRegister = nullptr;
  static constexpr unsigned kFewerCycles = 10;
};
/// As where registering pins memory: inputs are fetched, regions grow.
struct FabricLittleRegistered {
  static constexpr const char* kProvider = "tcp";
  static constexpr const char* kRegister = "4096";
  static constexpr unsigned kFewerCycles = 100;
};
/// Endpoints without connections, as on Slingshot, EFA and Omni-Path.
struct FabricConnectionless {
  static constexpr const char* kProvider = "tcp;ofi_rxm";
  static constexpr const char* kRegister = nullptr;
  static constexpr unsigned kFewerCycles = 100;
};

/// The fabric transport.
template <class Variant>
class FabricTransport {
 public:
  using Client = transport::fabric::ClientChannel;
  using Server = transport::fabric::ServerChannel;
  static constexpr bool kSharesMemory = false;
  static constexpr const char* kMappingName = "memfd:sublet";
  static constexpr unsigned kFewerCycles = Variant::kFewerCycles;

  class Host {
   public:
    static Result<std::unique_ptr<Host>> open(const HostOptions& options) {
      (void)why_not();  // sets the environment
      transport::ListenOptions listening;
      listening.token = options.token;
      listening.workers = options.workers;
      listening.max_slots = options.max_slots;
      listening.max_arena_bytes = options.max_arena_bytes;
      auto listener = transport::fabric::Listener::open(listening, "127.0.0.1");
      if (!listener) return tl::unexpected<Error>(listener.error());
      return std::make_unique<Host>(std::move(*listener));
    }
    explicit Host(std::unique_ptr<transport::fabric::Listener> listener)
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
    std::unique_ptr<transport::fabric::Listener> listener_;
  };

  static std::string why_not() {
    set("SUBLET_FABRIC_PROVIDER", Variant::kProvider);
    set("SUBLET_FABRIC_REGISTER", Variant::kRegister);
    return {};
  }

  static Result<Client> connect(const std::string& address, const ClientOptions& options,
                                std::shared_ptr<transport::Arena> arena) {
    transport::ConnectOptions connecting;
    connecting.address = address;
    connecting.token = options.token;
    connecting.worker = options.worker;
    connecting.slots = options.slots;
    connecting.timeout = options.timeout;
    connecting.wait = options.wait;
    return transport::fabric::connect(connecting, std::move(arena));
  }

  static std::shared_ptr<void> connect_silently(const std::string& address) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    return std::make_shared<base::Fd>(
        transport::fabric::connect_link(address, end).value_or_throw());
  }

 private:
  static void set(const char* name, const char* value) {
    if (value != nullptr) {
      ::setenv(name, value, 1);
    } else {
      ::unsetenv(name);
    }
  }
};

}  // namespace sublet::conformance
