#pragma once

#include <base/clock.hpp>
#include <client/lease_events.hpp>
#include <sublet/lease.hpp>
#include <transport/any/choice.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace sublet::client {

/// How an executor ended.
struct ExecutorFate {
  std::string text;  ///< For people.
  /// Of one that has drained: for each worker the number of the last call that it has begun. Empty
  /// when that is not known.
  std::vector<std::uint32_t> last_started;
  /// Of one whose program cannot be run: what is wrong with that.
  ErrorKind kind = ErrorKind::kDisconnected;
};

/// What is known of one node's share of a lease and of the executors that serve it. Written by the
/// helper thread, which calls the lease's attention to what changes; any thread reads. Nothing here
/// waits for anybody.
///
/// STATES  of the share: ours -> leaving (the node is being given back) -> lost, or ours again when
///         it stays. Of its executors, counted by generation: running -> ended (its process is
///         gone) -> the next one runs.
class NodeState {
 public:
  explicit NodeState(std::shared_ptr<LeaseEvents> events) : events_(std::move(events)) {}

  // ---- For the helper thread ----

  /// The first call counts. `node_gone`: not only our share of the node has ended, as when a lease
  /// expires, but the node itself does not exist any more.
  void lose(const std::string& reason, bool node_gone = false);
  /// As lose, when we gave it back ourselves: nobody is told.
  void release();
  void ending(const EndingNotice& notice);
  /// The node does not leave after all.
  void stays();
  /// The process of the executor of `generation` is gone, and so are those before it.
  void executor_ended(std::uint32_t generation, ExecutorFate fate);
  /// A newer executor takes connections.
  void executor_started(const transport::Endpoint& endpoint);

  // ---- For the lease's thread ----

  /// We give our share of a node that leaves back: it cannot stay for us any more. False when it
  /// does not leave after all.
  [[nodiscard]] bool give_back() noexcept;

  // ---- For all ----

  /// The node is being given back.
  [[nodiscard]] bool leaving() const noexcept {
    return stay_.load(std::memory_order_acquire) != Stay::kStays;
  }
  /// It leaves, or is gone: other nodes may stand in for it.
  [[nodiscard]] bool departed() const noexcept { return leaving() || gone(); }
  /// The node does not exist any more: nobody will tell how its executors ended.
  [[nodiscard]] bool gone() const noexcept { return node_gone_.load(std::memory_order_acquire); }
  [[nodiscard]] bool lost() const noexcept { return lost_.load(std::memory_order_acquire); }
  /// It was lost at least so long ago.
  [[nodiscard]] bool lost_for(std::chrono::nanoseconds time) const noexcept;
  /// Why it was lost.
  [[nodiscard]] std::string reason() const;
  /// True once the process of that executor is gone: it writes to no memory of ours any more.
  [[nodiscard]] bool ended(std::uint32_t generation) const noexcept {
    return ended_generation_.load(std::memory_order_acquire) >= generation;
  }
  /// How it ended; empty when that is not known.
  [[nodiscard]] ExecutorFate fate(std::uint32_t generation) const;
  /// Of the newest executor known.
  [[nodiscard]] std::uint32_t generation() const noexcept {
    return generation_.load(std::memory_order_acquire);
  }
  [[nodiscard]] transport::Endpoint endpoint() const;

 private:
  /// How many executors' fates are kept: more are not asked for, one channel breaks at a time.
  static constexpr std::size_t kMaxFates = 8;

  enum class Stay : std::uint8_t { kStays, kLeaves, kGivenBack };

  bool mark(const std::string& reason);

  std::shared_ptr<LeaseEvents> events_;
  std::atomic<bool> lost_{false};
  std::atomic<base::Ticks> lost_at_{0};
  std::atomic<Stay> stay_{Stay::kStays};
  std::atomic<bool> node_gone_{false};
  std::atomic<std::uint32_t> generation_{0};
  std::atomic<std::uint32_t> ended_generation_{0};
  mutable std::mutex mutex_;  ///< Guards what follows.
  std::string reason_;
  std::map<std::uint32_t, ExecutorFate> fates_;
  transport::Endpoint endpoint_;
};

/// One node's share of a lease, as a claim describes it.
struct NodeShare {
  Grant grant;
  transport::Preference preference;  ///< Which transports to its executors.
  std::vector<std::string> cpusets;  ///< Of its workers.
  std::shared_ptr<NodeState> state;
  /// Whose its executors' sockets on this node may be; empty where its executor manager was not
  /// reached by one: then that has proved itself otherwise, and its user is not known.
  std::function<bool(std::uint32_t uid)> believes{};
  std::vector<std::vector<std::string>> gpus{};  ///< UUIDs, of each worker that has some.
};

}  // namespace sublet::client
