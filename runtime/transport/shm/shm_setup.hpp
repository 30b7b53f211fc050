#pragma once

// PROTOCOL  Set-up of shm channels over a SOCK_SEQPACKET Unix socket that stays open as long as
//           the channel: its closing is how each side learns of the other's death. The client sends
//           one Hello with the arena's memfd beside it; the executor answers with one Welcome, and
//           with the channel's memfd unless it refuses.
//
// STATES    Connection: accepted -> greeted (Hello received in time) -> welcomed, or refused and
//           closed.
//
// LIMITS    kMaxPending connections may wait to send their Hello, each at most kHelloTimeout.

#include <base/fd.hpp>
#include <sublet/result.hpp>
#include <transport/arena.hpp>
#include <transport/setup.hpp>
#include <transport/shm/shm_client_datapath.hpp>
#include <transport/shm/shm_greeting.hpp>
#include <transport/shm/shm_server_datapath.hpp>

#include <poll.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sublet::transport::shm {

/// Opens a channel to one worker; its address is an abstract socket name, without the leading zero
/// byte. kDenied with the executor's reason when it refuses, kDisconnected
/// when it is not there or does not answer in time.
Result<ClientChannel> connect(const ConnectOptions& options, std::shared_ptr<Arena> arena);

/// A channel that has been set up. `connection` becomes readable (end of file) when the client
/// closes or dies; the owner of the channel watches it and then calls channel->interrupt(). An
/// honest client never sends on it again, so readable means the end in any case.
struct Accepted {
  std::uint32_t worker = 0;
  std::unique_ptr<ServerChannel> channel;
  base::Fd connection;
};

/// The executor's side. Owner and user: the executor's main thread, in its poll loop: add
/// poll_fds() to the set, and call service() when any of them is ready or next_deadline() has come.
/// Never blocks.
class Listener {
 public:
  /// `socket`: listening, from base::listen_abstract; made non-blocking here.
  Listener(base::Fd socket, ListenOptions options);

  void append_poll_fds(std::vector<pollfd>& fds) const;

  /// How long poll(2) may sleep for the sake of this listener; -1 when no connection is pending.
  [[nodiscard]] int poll_timeout_ms() const;

  /// Accepts connections, reads the Hellos that are there and answers them. `may_take(worker)` says
  /// whether that worker has no channel now; `accepted` takes each new channel.
  void service(const MayTake& may_take, const std::function<void(Accepted)>& accepted);

 private:
  struct PendingConnection {
    base::Fd socket;
    std::chrono::steady_clock::time_point deadline;
  };
  void accept_all();
  /// False when no Hello has come yet.
  bool greet(PendingConnection& pending, const MayTake& may_take,
             const std::function<void(Accepted)>& accepted);
  Result<std::shared_ptr<base::SharedMemory>> map_arena(base::Fd fd, std::uint64_t size);

  base::Fd socket_;
  ListenOptions options_;
  std::vector<PendingConnection> pending_;
  std::chrono::steady_clock::time_point accept_after_{};  ///< Unset: connections are accepted.
  /// Clients open one channel per worker, all with the same arena: mapped once.
  struct KnownArena {
    std::uint64_t device;
    std::uint64_t inode;
    std::weak_ptr<base::SharedMemory> memory;
  };
  std::vector<KnownArena> arenas_;
};

}  // namespace sublet::transport::shm
