#pragma once

#include <base/fd.hpp>
#include <base/fork_guard.hpp>
#include <base/uncancelled.hpp>
#include <client/heard_out_stream.hpp>
#include <sublet/result.hpp>
#include <wire/running_time.hpp>
#include <wire/signed_grant.hpp>
#include <wire/trust.hpp>

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>

// Only for the .cpp files of this folder: everything else sees control_plane.hpp and node_link.hpp.
namespace sublet::client {

/// What lives on the helper thread's event loop: made, used and destroyed there.
class ControlLoop;

/// How long a client waits.
struct Timeouts {
  std::chrono::milliseconds exchange{5000};  ///< For an answer of a manager.
  std::chrono::milliseconds peer{5000};      ///< For any sign of life of a node.
};

/// The client's helper thread: sleeps in a KJ event loop, talks to the managers, never touches a
/// channel. Any thread may call run(); it must not be called, nor the thread destroyed, from the
/// helper thread itself. Where the system grants no thread, or no descriptors for its loop, each
/// run() says so.
class ControlThread {
 public:
  ControlThread(const Timeouts& timeouts, std::shared_ptr<const wire::Trust> trust);
  ~ControlThread();
  ControlThread(const ControlThread&) = delete;
  ControlThread& operator=(const ControlThread&) = delete;

  [[nodiscard]] std::chrono::milliseconds timeout() const noexcept { return timeouts_.exchange; }
  [[nodiscard]] const Timeouts& timeouts() const noexcept { return timeouts_; }

  /// Runs `start(loop)`, which returns a kj::Promise<Result<T>>, on the helper thread and waits for
  /// its outcome, at most for `limit`. `attempted` begins the text of an error.
  template <class T, class Start>
  Result<T> run(const std::string& attempted, std::chrono::milliseconds limit, Start&& start);

  /// As run with the session's timeout.
  template <class T, class Start>
  Result<T> run(const std::string& attempted, Start&& start) {
    return run<T>(attempted, timeouts_.exchange, std::forward<Start>(start));
  }

 private:
  void main();
  void serve();
  [[nodiscard]] static Error not_in_child(const std::string& attempted);

  std::uint64_t generation_ = base::fork_generation();
  Timeouts timeouts_;
  std::shared_ptr<const wire::Trust> trust_;
  kj::Own<const kj::Executor> executor_;
  ControlLoop* loop_ = nullptr;
  kj::PromiseFulfiller<void>* stop_ = nullptr;
  std::string failure_;  ///< Why there is no loop; empty: there is one. Set before ready_.
  std::atomic<bool> ready_{false};
  std::thread thread_;
};

/// A two-party connection with its bootstrap capability; shared by reference count on the loop.
class Connection : public kj::Refcounted {
 public:
  Connection(kj::Own<kj::AsyncIoStream> stream);

  [[nodiscard]] capnp::Capability::Client bootstrap() { return bootstrap_; }
  /// Names it to both of its ends.
  [[nodiscard]] const wire::ChannelBinding& binding() const noexcept { return binding_; }
  /// Resolves when the other side has gone.
  kj::Promise<void> gone() { return gone_.addBranch(); }

 private:
  wire::ChannelBinding binding_;
  HeardOutStream stream_;
  std::unique_ptr<base::ForkGuard> guard_;  ///< A child's copy would keep our leases.
  capnp::TwoPartyVatNetwork network_;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc_;
  /// Asked for as it opens: of one that has closed meanwhile Cap'n Proto ends the process that
  /// asks.
  capnp::Capability::Client bootstrap_;
  kj::ForkedPromise<void> gone_;
};

class ControlLoop : private kj::TaskSet::ErrorHandler {
 public:
  ControlLoop(kj::AsyncIoContext& io, std::chrono::milliseconds silence,
              std::shared_ptr<const wire::Trust> trust)
      : io_(io), silence_(silence), trust_(std::move(trust)), tasks_(*this) {}

  kj::Timer& timer() { return io_.provider->getTimer(); }
  [[nodiscard]] const std::shared_ptr<const wire::Trust>& trust() const noexcept { return trust_; }

  /// The connection to `address` (unix:PATH or tcp:HOST:PORT), made when there is none yet.
  kj::Promise<Result<kj::Own<Connection>>> connect(const std::string& address);

  /// Runs beside everything else until it ends or the loop does.
  void spawn(kj::Promise<void> task) { tasks_.add(kj::mv(task)); }

 private:
  void taskFailed(kj::Exception&& exception) override;
  void forget(const std::string& address, Connection& connection);

  kj::AsyncIoContext& io_;
  std::chrono::milliseconds silence_;
  std::shared_ptr<const wire::Trust> trust_;
  struct Known {
    std::string address;
    kj::Own<Connection> connection;
  };
  std::vector<Known> known_;
  kj::TaskSet tasks_;
};

/// The text and kind of an exception that a remote call ended with.
Error to_error(const std::string& attempted, const kj::Exception& exception);

template <class T, class Start>
Result<T> ControlThread::run(const std::string& attempted, std::chrono::milliseconds limit,
                             Start&& start) {
  if (base::fork_generation() != generation_) {
    return tl::unexpected<Error>(not_in_child(attempted));
  }
  if (!failure_.empty()) return fail(ErrorKind::kOverloaded, attempted + ": " + failure_);
  const base::Uncancelled uncancelled;  // the helper thread works on this one's stack
  try {
    return executor_->executeSync([&]() -> kj::Promise<Result<T>> {
      auto late =
          wire::after_running(loop_->timer(), limit).then([&attempted, limit]() -> Result<T> {
            return fail(ErrorKind::kDisconnected,
                        attempted + ": no answer within " + std::to_string(limit.count()) + " ms");
          });
      return kj::evalNow([&] { return start(*loop_); })
          .catch_([&attempted](kj::Exception&& exception) -> Result<T> {
            return tl::unexpected<Error>(to_error(attempted, exception));
          })
          .exclusiveJoin(kj::mv(late));
    });
  } catch (const kj::Exception& exception) {
    return tl::unexpected<Error>(to_error(attempted, exception));
  }
}

}  // namespace sublet::client
