#pragma once

// PROTOCOL  Set-up of queue pairs by the RDMA connection manager. The client's request to connect
// carries
//           a Hello; the executor accepts with a Welcome, or rejects with a Rejection that says
//           why. The connection manager's disconnect is how each side learns of the other's end:
//           the kernel sends it for a process that dies.
//
// STATES    Client: address -> route -> request sent -> established, or failed.
//           Executor: request -> queue pair made, its window bound -> accepted -> ended (the client
//           has disconnected, the queue pair has failed, or the worker has ended the channel).
//
// LIMITS    kBacklog requests wait for the executor's main thread; each set-up has its deadline at
// the
//           client.

#include <sublet/result.hpp>
#include <transport/arena.hpp>
#include <transport/setup.hpp>
#include <transport/verbs/verbs_client_datapath.hpp>
#include <transport/verbs/verbs_server_datapath.hpp>

#include <netinet/in.h>
#include <poll.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sublet::transport::verbs {

/// Opens a channel to one worker; `options.address` is what Listener::address() gave: "IP:PORT",
/// several separated by commas, tried in turn. kDenied with the executor's reason when it refuses,
/// kDisconnected when it is not there or does not answer in time, kUnsupported when no RDMA device
/// here leads there.
Result<ClientChannel> connect(const ConnectOptions& options, const std::shared_ptr<Arena>& arena);

/// Opens all of them at the same time: none waits for the handshake of another. In the order of
/// `options`.
std::vector<Result<ClientChannel>> connect_many(std::span<const ConnectOptions> options,
                                                const std::shared_ptr<Arena>& arena);

/// The addresses of a list separated by commas.
std::vector<std::string> split_addresses(const std::string& list);

/// "10.0.0.1:4711" or "[fd00::1]:4711".
struct SocketAddress {
  sockaddr_storage storage{};
  [[nodiscard]] sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  static std::optional<SocketAddress> parse(const std::string& text);
};

/// The executor's side. Owner and user: the executor's main thread, see transport::NetworkListener.
class Listener {
 public:
  /// `host`: the address of an RDMA port, or the name of an RDMA device; empty: all of them.
  static Result<std::unique_ptr<Listener>> open(const ListenOptions& options,
                                                const std::string& host);

  [[nodiscard]] std::string address() const { return address_; }
  void append_poll_fds(std::vector<pollfd>& fds) const;
  [[nodiscard]] int poll_timeout_ms() const { return -1; }
  void service(const MayTake& may_take,
               const std::function<void(std::uint32_t, std::unique_ptr<ServerChannel>)>& accepted,
               const std::function<void(std::uint32_t)>& ended);

  Listener(std::shared_ptr<ServerHub> hub, ConnectionId id, std::string address,
           const ListenOptions& options);

 private:
  struct Request;
  void answer(const Request& request, const MayTake& may_take,
              const std::function<void(std::uint32_t, std::unique_ptr<ServerChannel>)>& accepted);
  Result<std::shared_ptr<ibv_pd>> domain_of(ibv_context* device);
  void drop(rdma_cm_id* id, const std::function<void(std::uint32_t)>& ended);

  ListenOptions options_;
  std::shared_ptr<ServerHub> hub_;
  std::string address_;
  ConnectionId id_;
  /// One protection domain for each device: a listener belongs to one lease.
  std::vector<std::shared_ptr<ibv_pd>> domains_;
  struct Client {
    std::uint32_t worker;
    std::shared_ptr<ServerConnection> connection;
  };
  std::map<rdma_cm_id*, Client> clients_;
};

}  // namespace sublet::transport::verbs
