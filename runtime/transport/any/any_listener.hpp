#pragma once

// The executor's side: listeners and channels of every transport of this build.

#include <base/fd.hpp>
#include <sublet/result.hpp>
#include <transport/any/kind.hpp>
#include <transport/any/transports.hpp>

#include <poll.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sublet::transport {

/// A channel that a worker is to serve: one alternative per transport, std::monostate for none. The
/// main thread and the worker share it, so that interrupt() never meets a channel that is gone.
using AnyServerChannel = Transports::ServerChannels;

/// Wakes the channel's worker and makes it leave the channel. Any thread.
void interrupt(const AnyServerChannel& channel) noexcept;
void retire(const AnyServerChannel& channel) noexcept;

/// A ChannelListener of whichever transport; all of it is off the hot path. Owner and user: the
/// executor's main thread.
class AnyListener {
 public:
  using Accepted = std::function<void(std::uint32_t worker, AnyServerChannel channel)>;
  using Ended = std::function<void(std::uint32_t worker)>;

  virtual ~AnyListener() = default;
  [[nodiscard]] virtual Kind kind() const noexcept = 0;
  /// Where clients connect to, for ConnectOptions::address.
  [[nodiscard]] virtual std::string address() const = 0;
  virtual void append_poll_fds(std::vector<pollfd>& fds) = 0;
  [[nodiscard]] virtual int poll_timeout_ms() const = 0;
  virtual void service(const MayTake& may_take, const Accepted& accepted, const Ended& ended) = 0;
};

/// Takes connections of clients on this node on `socket`, which listens already (of
/// base::listen_abstract).
Result<std::unique_ptr<AnyListener>> listen_on_this_node(base::Fd socket,
                                                         const ListenOptions& options);

/// Opens a listener at that of the places which suits the transport. The error says why this node
/// cannot be reached that way.
Result<std::unique_ptr<AnyListener>> listen(Kind kind, const ListenOptions& options,
                                            const ListenPlaces& places);

}  // namespace sublet::transport
