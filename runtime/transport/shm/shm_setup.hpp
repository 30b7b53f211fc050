#pragma once

// clang-format off
// PROTOCOL  Set-up of shm channels over a SOCK_SEQPACKET Unix socket that stays open as long as
//           the channel: its closing is how each side learns of the other's death. The client sends
//           one Hello with the arena's memfd beside it; the executor answers with one Welcome and
//           the channel's memfd beside it, or refuses with an Answer.
// STATES    See common/greeting.hpp.
// LIMITS    See common/lobby.hpp.
// clang-format on

#include <base/fd.hpp>
#include <sublet/result.hpp>
#include <transport/arena.hpp>
#include <transport/common/socket_listener.hpp>
#include <transport/shm/shm_client_datapath.hpp>
#include <transport/shm/shm_server_datapath.hpp>
#include <transport/shm/shm_wire.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sublet::transport::shm {

/// The executor's side: see ChannelListener for who calls what, when.
class Listener : public SocketListener<ServerChannel> {
 public:
  /// `name`: an abstract socket's; empty: one that the system chooses.
  static Result<std::unique_ptr<Listener>> open(const ListenOptions& options,
                                                const std::string& name);
  /// `socket` listens already: it is of base::listen_abstract.
  static Result<std::unique_ptr<Listener>> take(base::Fd socket, const ListenOptions& options);

  void service(const MayTake& may_take, const Accepted& accepted, const Ended& ended);

 private:
  using SocketListener::SocketListener;

  void admit(Lobby::Guest guest, const Accepted& accepted, const Ended& ended);
  Result<std::shared_ptr<base::SharedMemory>> map_arena(base::Fd fd, std::uint64_t size);

  /// Clients open one channel per worker, all with the same arena: mapped once.
  struct KnownArena {
    std::uint64_t device;
    std::uint64_t inode;
    std::weak_ptr<base::SharedMemory> memory;
  };
  std::vector<KnownArena> arenas_;
};

}  // namespace sublet::transport::shm
