#pragma once

// clang-format off
// PROTOCOL  Set-up of queue pairs by the RDMA connection manager. The client's request to connect
//           carries a Hello; the executor accepts with a Welcome, or rejects with a Rejection that
//           says why. The connection manager's disconnect is how each side learns of the other's
//           end: the kernel sends it for a process that dies.
//
// STATES    Client: address -> route -> request sent -> established, or failed.
//           Executor: request -> queue pair made, its window bound -> accepted -> ended (the client
//           has disconnected, the queue pair has failed, or the worker has ended the channel).
//
// LIMITS    kBacklog requests wait for the executor's main thread; each set-up has its deadline at
//           the client. A client that says nothing costs nothing: its Hello comes with its request.
// clang-format on

#include <sublet/result.hpp>
#include <transport/arena.hpp>
#include <transport/common/doorkeeper.hpp>
#include <transport/setup.hpp>
#include <transport/verbs/verbs_client_datapath.hpp>
#include <transport/verbs/verbs_server_datapath.hpp>

#include <poll.h>

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace sublet::transport::verbs {

/// The executor's side. Owner and user: the executor's main thread, see transport::ChannelListener.
class Listener {
 public:
  using Accepted = std::function<void(std::uint32_t worker, std::unique_ptr<ServerChannel>)>;
  using Ended = std::function<void(std::uint32_t worker)>;

  /// `host`: the address of an RDMA port, or the name of an RDMA device; empty: all of them.
  static Result<std::unique_ptr<Listener>> open(const ListenOptions& options,
                                                const std::string& host);

  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  void append_poll_fds(std::vector<pollfd>& fds) const;
  [[nodiscard]] int poll_timeout_ms() const { return -1; }
  void service(const MayTake& may_take, const Accepted& accepted, const Ended& ended);

  Listener(std::shared_ptr<ServerHub> hub, ConnectionId id, std::string address,
           const ListenOptions& options);

 private:
  /// A client's wish, copied out of the event that brought it.
  struct Request {
    ConnectionId id;
    Hello hello{};
    bool well_formed = false;
    std::uint8_t reads = 0;  ///< RDMA reads that the client allows to be under way.
  };
  struct Client {
    std::uint32_t worker;
    std::shared_ptr<ServerConnection> connection;
  };

  /// Reads what the connection manager has to say; drops clients that have gone.
  std::vector<Request> read_events(const Ended& ended);
  void drop_broken(const Ended& ended);
  void answer(Request request, const MayTake& may_take, const Accepted& accepted);
  Result<std::shared_ptr<ibv_pd>> domain_of(ibv_context* device);
  void drop(rdma_cm_id* id, const Ended& ended);

  Doorkeeper doorkeeper_;
  std::shared_ptr<ServerHub> hub_;
  std::string address_;
  ConnectionId id_;
  /// One protection domain for each device: a listener belongs to one lease.
  std::vector<std::shared_ptr<ibv_pd>> domains_;
  std::map<rdma_cm_id*, Client> clients_;
};

}  // namespace sublet::transport::verbs
