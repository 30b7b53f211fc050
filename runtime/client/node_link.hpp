#pragma once

#include <sublet/lease.hpp>
#include <transport/any/choice.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sublet::client {

class ControlThread;
struct Claimed;

/// What the helper thread tells a lease. Shared by the lease and its notice servers; any thread.
class LeaseEvents {
 public:
  void set_on_ending(std::function<void(const EndingNotice&)> callback);
  void set_on_lost(std::function<void(const std::string&)> callback);
  void ending(const EndingNotice& notice);
  void lost(const std::string& reason);

  /// HOT PATH: true when a node of the lease leaves or is lost, so that its user's thread should
  /// look after its workers.
  [[nodiscard]] bool attention() const noexcept {
    return attention_.load(std::memory_order_relaxed);
  }
  void call_attention() noexcept { attention_.store(true, std::memory_order_release); }
  /// Before looking: what happens from now on calls again.
  void take_attention() noexcept { attention_.exchange(false, std::memory_order_acq_rel); }

 private:
  std::atomic<bool> attention_{false};
  std::mutex mutex_;
  std::function<void(const EndingNotice&)> on_ending_;
  std::function<void(const std::string&)> on_lost_;
};

/// Whether one node's share of a lease is still ours. Written by the helper thread; any thread
/// reads.
class NodeState {
 public:
  explicit NodeState(std::shared_ptr<LeaseEvents> events) : events_(std::move(events)) {}

  /// The first call counts. `node_gone`: not only our share of the node has ended, as when a lease
  /// expires, but the node itself is no more.
  void lose(const std::string& reason, bool node_gone = false);
  /// As lose, when we gave it back ourselves: nobody is told.
  void release();
  void ending(const EndingNotice& notice);
  /// The node is being given back.
  [[nodiscard]] bool leaving() const noexcept { return leaving_.load(std::memory_order_acquire); }
  /// It leaves, or is gone: other nodes may stand in for it.
  [[nodiscard]] bool departed() const noexcept {
    return leaving() || node_gone_.load(std::memory_order_acquire);
  }
  [[nodiscard]] bool lost() const noexcept { return lost_.load(std::memory_order_acquire); }
  [[nodiscard]] std::string reason() const;

 private:
  bool mark(const std::string& reason);
  std::shared_ptr<LeaseEvents> events_;
  std::atomic<bool> lost_{false};
  std::atomic<bool> leaving_{false};
  std::atomic<bool> node_gone_{false};
  mutable std::mutex mutex_;
  std::string reason_;
};

/// A function as an executor manager is asked to open it.
struct FunctionRequest {
  std::uint16_t index = 0;
  std::string name;
  std::string library;  ///< For messages.
  std::array<std::uint8_t, 32> sha256{};
  std::chrono::milliseconds timeout{0};
};

/// A claimed grant: the control side of one node's share of a lease. Dropping it gives the share
/// back. Any thread; all calls block, each at most for the session's timeout.
class NodeLink {
 public:
  struct Remote;  ///< Lives on the helper thread's loop.

  NodeLink(std::shared_ptr<ControlThread> thread, Grant grant, Claimed claimed);
  ~NodeLink();
  NodeLink(const NodeLink&) = delete;
  NodeLink& operator=(const NodeLink&) = delete;

  [[nodiscard]] const Grant& grant() const noexcept { return grant_; }
  [[nodiscard]] NodeState& state() noexcept { return *state_; }
  /// True once the node is known to be gone: for a channel that cannot see it by itself. Outlives
  /// this.
  [[nodiscard]] std::function<bool()> gone() const {
    return [state = state_] { return state->lost(); };
  }
  [[nodiscard]] const std::vector<std::string>& cpusets() const noexcept { return cpusets_; }
  /// Where the newest executor known here listens.
  [[nodiscard]] const transport::Endpoint& endpoint() const noexcept { return endpoint_; }
  /// Which transport to its executor, and where it listens.
  [[nodiscard]] Result<transport::Endpoint::Address> choose() const {
    return transport::choose(endpoint_, preference_);
  }
  [[nodiscard]] const std::string& choice_reasons() const noexcept { return preference_.reasons; }

  /// False: the node does not have the library's content; install() it and open again.
  Result<bool> open(const FunctionRequest& function);
  Result<void> install(std::span<const std::byte> content,
                       const std::array<std::uint8_t, 32>& sha256);
  Result<Usage> usage();

  /// How the executor of `generation` ended, for people; never fails, falls back to what is known.
  std::string fate(std::uint32_t generation);

  /// Waits for an executor newer than `generation` and makes it the endpoint.
  Result<void> await_replacement(std::uint32_t generation);

  void release() noexcept;

 private:
  std::shared_ptr<ControlThread> thread_;
  std::shared_ptr<NodeState> state_;
  Grant grant_;
  Remote* remote_;
  std::string host_;
  transport::Preference preference_;
  transport::Endpoint endpoint_;
  std::vector<std::string> cpusets_;
};

}  // namespace sublet::client
