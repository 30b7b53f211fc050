#pragma once

#include <transport/common/connections.hpp>
#include <transport/common/lobby.hpp>

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sublet::transport {

/// What the listeners of transports share that are set up over a socket of their own: connections
/// that wait in a lobby, and those behind channels. See ChannelListener for who calls what, when.
template <class Channel>
class SocketListener {
 public:
  using Accepted = std::function<void(std::uint32_t worker, std::unique_ptr<Channel>)>;
  using Ended = Connections::Ended;

  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  void append_poll_fds(std::vector<pollfd>& fds) const {
    lobby_.append_poll_fds(fds);
    connections_.append_poll_fds(fds);
  }
  [[nodiscard]] int poll_timeout_ms() const {
    return timeout_until(std::min(lobby_.next_deadline(), connections_.next_deadline()));
  }

 protected:
  /// `socket` listens. `watched_for`: see Connections.
  SocketListener(base::Fd socket, std::string address, const Lobby::HelloForm& form,
                 const ListenOptions& options,
                 std::optional<std::chrono::milliseconds> watched_for = std::nullopt)
      : options_(options),
        address_(std::move(address)),
        lobby_(std::move(socket), form, options),
        connections_(watched_for) {}

  [[nodiscard]] static int timeout_until(TimePoint end) {
    return end == TimePoint::max() ? -1 : static_cast<int>(left_until(end).count());
  }
  [[nodiscard]] const ListenOptions& options() const noexcept { return options_; }

  /// Clients that have gone before new ones: one that connects again finds its worker free.
  void serve_lobby(const MayTake& may_take, const Ended& ended, const Lobby::Admit& admit) {
    connections_.service(ended);
    lobby_.service(may_take, admit);
  }
  Connections& connections() noexcept { return connections_; }

 private:
  ListenOptions options_;
  std::string address_;
  Lobby lobby_;
  Connections connections_;
};

}  // namespace sublet::transport
