#pragma once

#include "transport_under_test.hpp"
#include <base/asymmetric_fence.hpp>
#include <base/unix_socket.hpp>
#include <transport/shm/shm_setup.hpp>

#include <unistd.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sublet::conformance {

/// The shm transport; Fences says who pays for the fence between work and sleep.
template <transport::shm::FenceMode Fences>
class ShmTransport {
 public:
  using Client = transport::shm::ClientChannel;
  using Server = transport::shm::ServerChannel;
  static constexpr bool kSharesMemory = true;
  static constexpr const char* kMappingName = "memfd:sublet";

  class Host {
   public:
    static Result<std::unique_ptr<Host>> open(const HostOptions& options) {
      static std::atomic<int> counter{0};
      const std::string name =
          "sublet-conformance-" + std::to_string(::getpid()) + "-" + std::to_string(++counter);
      auto socket = base::listen_abstract(name, 64);
      if (!socket) return tl::unexpected<Error>(socket.error());
      auto listening = listen_options(options);
      listening.mostly_warm = Fences == transport::shm::FenceMode::kSymmetric;
      return std::make_unique<Host>(name, std::move(*socket), listening);
    }

    Host(std::string name, base::Fd socket, const transport::ListenOptions& options)
        : name_(std::move(name)), listener_(std::move(socket), options) {}

    [[nodiscard]] std::string address() const { return name_; }
    void append_poll_fds(std::vector<pollfd>& fds) const {
      listener_.append_poll_fds(fds);
      for (const auto& [worker, connection] : connections_) {
        fds.push_back({connection.get(), POLLIN, 0});
      }
    }
    [[nodiscard]] int poll_timeout_ms() const { return listener_.poll_timeout_ms(); }

    void service(const std::function<bool(std::uint32_t)>& may_take,
                 const OnAccepted<Server>& accepted,
                 const std::function<void(std::uint32_t)>& ended) {
      std::erase_if(connections_, [&](const auto& entry) {
        pollfd poll_entry{entry.second.get(), POLLIN, 0};
        if (::poll(&poll_entry, 1, 0) == 0) return false;
        ended(entry.first);
        return true;
      });
      listener_.service(may_take, [&](transport::shm::Accepted channel) {
        connections_.insert_or_assign(channel.worker, std::move(channel.connection));
        accepted(channel.worker, std::move(channel.channel));
      });
    }

   private:
    std::string name_;
    transport::shm::Listener listener_;
    std::map<std::uint32_t, base::Fd> connections_;
  };

  static std::string why_not() {
    if (Fences == transport::shm::FenceMode::kAsymmetric && !base::register_asymmetric_fence()) {
      return "this kernel has no expedited membarrier";
    }
    return {};
  }

  static Result<Client> connect(const std::string& address, const ClientOptions& options,
                                std::shared_ptr<transport::Arena> arena) {
    return transport::shm::connect(connect_options(address, options), std::move(arena));
  }

  static std::shared_ptr<void> connect_silently(const std::string& address) {
    return std::make_shared<base::Fd>(base::connect_abstract(address).value_or_throw());
  }
};

}  // namespace sublet::conformance
