#pragma once

#include "transport_under_test.hpp"
#include <transport/tcp/tcp_setup.hpp>

#include <memory>
#include <string>
#include <utility>

namespace sublet::conformance {

/// The tcp transport over the loopback interface.
class TcpTransport {
 public:
  using Client = transport::tcp::ClientChannel;
  using Server = transport::tcp::ServerChannel;
  using Listener = transport::tcp::Listener;
  static constexpr const char* kListenAt = "127.0.0.1";
  static constexpr bool kSharesMemory = false;
  static constexpr const char* kMappingName = "memfd:sublet";

  static std::string why_not() { return {}; }

  static Result<Client> connect(const std::string& address, const ClientOptions& options,
                                std::shared_ptr<transport::Arena> arena) {
    return transport::tcp::connect(connect_options(address, options), std::move(arena));
  }

  static std::shared_ptr<void> connect_silently(const std::string& address) {
    return silent_tcp_connection(address);
  }
};

}  // namespace sublet::conformance
