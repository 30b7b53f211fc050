#pragma once

// PROTOCOL  See fabric_wire.hpp.
// STATES    A connection to the listener: accepted -> greeted (its Hello was good: Welcome sent) ->
//           connected (kConnected endpoints only) -> with keys (Keys received and sent): a channel;
//           or refused and closed.
// LIMITS    kMaxPending connections may be on their way to a channel, each at most kHelloTimeout
//           for each of its two messages.

#include <base/fd.hpp>
#include <sublet/result.hpp>
#include <transport/arena.hpp>
#include <transport/fabric/fabric_client_datapath.hpp>
#include <transport/fabric/fabric_link.hpp>
#include <transport/fabric/fabric_provider.hpp>
#include <transport/fabric/fabric_server_datapath.hpp>
#include <transport/setup.hpp>

#include <poll.h>

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace sublet::transport::fabric {

/// Opens a channel to one worker; its address is "HOST:PORT". The executor names the provider.
/// kDenied with the executor's reason when it refuses, kDisconnected when it is not there or does
/// not answer in time, kUnsupported when this node lacks the executor's provider.
Result<ClientChannel> connect(const ConnectOptions& options, std::shared_ptr<Arena> arena);

/// The executor's side. Owner and user: the executor's main thread (see NetworkListener).
class Listener {
 public:
  using Accepted = std::function<void(std::uint32_t worker, std::unique_ptr<ServerChannel>)>;
  using Ended = std::function<void(std::uint32_t worker)>;

  /// `host`: the address or name to bind; empty for all, then address() has the one at which the
  /// provider's network reaches this node.
  static Result<std::unique_ptr<Listener>> open(const ListenOptions& options,
                                                const std::string& host);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  [[nodiscard]] std::string address() const { return address_; }
  [[nodiscard]] const Provider& provider() const noexcept { return *provider_; }
  void append_poll_fds(std::vector<pollfd>& fds);
  [[nodiscard]] int poll_timeout_ms() const;
  void service(const MayTake& may_take, const Accepted& accepted, const Ended& ended);

 private:
  struct Candidate {
    std::shared_ptr<base::Fd> link;
    TimePoint deadline;
    Hello hello{};
    Keys keys{};
    std::size_t received = 0;  ///< Of the message that is expected now.
    bool greeted = false;
    bool connected = false;
    Nonce nonce{};
    Side side;
    base::SharedMemory mirror;
  };
  enum class Outcome { kWaiting, kChannel, kOver };

  Listener(const ListenOptions& options, std::shared_ptr<const Provider> provider);
  Result<void> open_endpoint();
  void watch_channels(const Ended& ended);
  void accept_links();
  void accept_endpoints();
  void accept_endpoint(fi_info* request, std::span<const std::byte> nonce);
  Outcome advance(Candidate& candidate, const MayTake& may_take);
  Outcome greet(Candidate& candidate, const MayTake& may_take);
  Result<Welcome> welcome(Candidate& candidate);
  Outcome take_keys(Candidate& candidate);
  [[nodiscard]] bool is_taken(std::uint32_t worker) const;

  ListenOptions options_;
  std::shared_ptr<const Provider> provider_;
  base::Fd socket_;
  std::string address_;
  Fid<fid_eq> events_;
  Fid<fid_pep> passive_;
  int event_fd_ = -1;
  bool look_again_ = false;
  std::vector<std::byte> passive_address_;
  std::list<Candidate> candidates_;
  TimePoint accept_after_{};
  std::map<std::uint32_t, std::shared_ptr<base::Fd>> channels_;  ///< By worker.
};

}  // namespace sublet::transport::fabric
