#pragma once

#include <common/alarms.hpp>
#include <common/connection_table.hpp>
#include <common/guarded_stream.hpp>
#include <common/listening_socket.hpp>
#include <common/peer.hpp>
#include <wire/address.hpp>
#include <wire/trust.hpp>

#include <capnp/capability.h>
#include <kj/async-io.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace sublet::manager {

/// What the listeners of a process share. Their peers keep it alive.
struct ServedConnections {
  /// Places for `percent` of the descriptors that this process may have; it needs the others
  /// itself.
  /// Over a network callers prove who they are by what `trust` has.
  ServedConnections(std::size_t percent, std::shared_ptr<const wire::Trust> trusted)
      : table(places(percent)), trust(std::move(trusted)) {}
  static std::size_t places(std::size_t percent);
  ConnectionTable table;
  std::shared_ptr<const wire::Trust> trust;
  GuardedStream::Budgets budgets;
};

/// Serves every connection to a listening socket with what `bootstrap` makes for it. When a Unix
/// socket's file is removed (with its directory, by whatever cleans up /tmp), it listens there
/// again.
///
/// Owner: main; dropping it drops the connections. The event loop's thread only.
class RpcListener final : private kj::TaskSet::ErrorHandler {
 public:
  /// A null peer stands for the same process.
  using Bootstrap = std::function<capnp::Capability::Client(std::shared_ptr<Peer>)>;

  RpcListener(kj::LowLevelAsyncIoProvider& io, ListeningSocket socket, Bootstrap bootstrap,
              std::shared_ptr<ServedConnections> connections);
  KJ_DISALLOW_COPY(RpcListener);

  [[nodiscard]] const wire::Address& address() const { return socket_.address(); }
  /// Raised while nobody new can reach it.
  [[nodiscard]] Alarm alarm() const;

 private:
  kj::Promise<void> accept_loop();
  void serve(kj::Own<kj::AsyncIoStream> stream);
  kj::Promise<void> identify(const std::shared_ptr<Peer>& peer);
  kj::Promise<void> converse(const std::shared_ptr<Peer>& peer);
  void tell_refusal(const Peer& peer, const std::string& why);
  void tell_limit();
  kj::Promise<void> until_removed();
  void taskFailed(kj::Exception&& exception) override;

  kj::LowLevelAsyncIoProvider& io_;
  ListeningSocket socket_;
  Bootstrap bootstrap_;
  std::shared_ptr<ServedConnections> connections_;
  kj::Own<kj::ConnectionReceiver> receiver_;
  kj::Timer& timer_;
  std::string failing_;     ///< Why the last accept() failed; empty: it did not.
  unsigned accepted_ = 0;   ///< Counts round and round.
  std::uint64_t told_ = 0;  ///< Connections closed or refused, as last told.
  std::chrono::steady_clock::time_point tell_again_{};
  std::chrono::steady_clock::time_point failure_again_{};
  std::uint64_t refused_ = 0;  ///< Callers without a proof, since that was last told.
  std::chrono::steady_clock::time_point refusal_again_{};
  kj::TaskSet tasks_;
  kj::Maybe<kj::Own<RpcListener>> again_;  ///< At the same address, once the file was removed.
};

}  // namespace sublet::manager
