#pragma once

// clang-format off
// PROTOCOL  See fabric_wire.hpp.
// STATES    See common/greeting.hpp. A client that was welcomed is a candidate: greeted ->
//           connected (kConnected endpoints only) -> with keys (Keys received and sent): a channel;
//           or over.
// LIMITS    See common/lobby.hpp. One candidate per worker, each at most kKeysTimeout.
// clang-format on

#include <base/fd.hpp>
#include <sublet/result.hpp>
#include <transport/arena.hpp>
#include <transport/common/socket_listener.hpp>
#include <transport/fabric/fabric_client_datapath.hpp>
#include <transport/fabric/fabric_provider.hpp>
#include <transport/fabric/fabric_server_datapath.hpp>

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace sublet::transport::fabric {

/// How long a client that was welcomed may take to connect its endpoint and to send its Keys. It
/// has shown the lease's token and keeps only its own worker waiting; and it may have to load
/// libfabric first, which takes seconds on a node whose cores are busy.
inline constexpr auto kKeysTimeout = std::chrono::seconds(10);

/// The executor's side: see ChannelListener for who calls what, when.
class Listener : public SocketListener<ServerChannel> {
 public:
  /// `host`: the address or name to bind; empty for all, then address() has the one at which the
  /// provider's network reaches this node.
  static Result<std::unique_ptr<Listener>> open(const ListenOptions& options,
                                                const std::string& host);

  [[nodiscard]] const Provider& provider() const noexcept { return *provider_; }
  void append_poll_fds(std::vector<pollfd>& fds);
  [[nodiscard]] int poll_timeout_ms() const;
  void service(const MayTake& may_take, const Accepted& accepted, const Ended& ended);

 private:
  /// A client that was welcomed and is on its way to a channel.
  struct Candidate {
    TimePoint deadline;
    std::uint32_t worker = 0;
    Nonce nonce{};
    Side side;
    base::SharedMemory mirror;
    std::size_t received = 0;  ///< Of its Keys, in side.peer.
    bool connected = false;
  };
  enum class Outcome { kWaiting, kChannel, kOver };

  Listener(base::Fd socket, std::string address, const ListenOptions& options,
           std::shared_ptr<const Provider> provider);
  Result<void> open_endpoint();
  void accept_endpoints();
  void accept_endpoint(fi_info* request, std::span<const std::byte> nonce);
  void admit(Lobby::Guest guest);
  Result<Candidate> make_candidate(const Lobby::Guest& guest) const;
  Result<Welcome> welcome(const Hello& hello, Candidate& candidate) const;
  Outcome advance(Candidate& candidate);
  Outcome take_keys(Candidate& candidate);
  [[nodiscard]] bool is_taken(std::uint32_t worker) const;

  std::shared_ptr<const Provider> provider_;
  Fid<fid_eq> events_;
  Fid<fid_pep> passive_;
  int event_fd_ = -1;
  bool look_again_ = false;
  std::vector<std::byte> passive_address_;
  std::list<Candidate> candidates_;
};

}  // namespace sublet::transport::fabric
