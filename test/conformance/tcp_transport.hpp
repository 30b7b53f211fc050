#pragma once

#include "network_host.hpp"
#include "process.hpp"
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
  using Host = NetworkHost<transport::tcp::Listener, Server, kLoopback>;
  static constexpr bool kSharesMemory = false;
  static constexpr const char* kMappingName = "memfd:sublet";

  static std::string why_not() { return {}; }

  static Result<Client> connect(const std::string& address, const ClientOptions& options,
                                std::shared_ptr<transport::Arena> arena) {
    return transport::tcp::connect(connect_options(address, options), std::move(arena));
  }

  static std::shared_ptr<void> connect_silently(const std::string& address) {
    const auto to = transport::tcp::parse_address(address).value_or_throw();
    const auto end = std::chrono::steady_clock::now() + kPatience;
    return std::make_shared<base::Fd>(transport::tcp::connect_to(to, end).value_or_throw());
  }
};

}  // namespace sublet::conformance
