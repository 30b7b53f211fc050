#pragma once

#include <base/clock.hpp>
#include <base/fork_guard.hpp>
#include <base/node_identity.hpp>
#include <client/node_link.hpp>
#include <sublet/session.hpp>
#include <wire/manager_address.hpp>
#include <wire/signing_key.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sublet::client {

struct Application;
struct Timeouts;

/// What a session can ask of the managers. Any thread; all calls block with the session's deadline.
class ControlPlane {
 public:
  /// `transport`: the one to use, by name; empty: the best there is.
  ControlPlane(base::NodeIdentity node, std::string transport, const Timeouts& timeouts,
               std::shared_ptr<const wire::Trust> trust);
  ~ControlPlane();

  /// Asks again, for a moment, what was refused just after this process gave a lease back, or just
  /// after it started, perhaps because another one ended: cores return when the executors on them
  /// have ended, some milliseconds later. `cores`: as many as are asked for.
  template <class Ask>
  auto while_cores_return(std::uint64_t cores, Ask&& ask) -> decltype(ask()) {
    for (auto pause = kAskAgain;; pause = std::min(2 * pause, kAskLater)) {
      auto answer = ask();
      if (answer || answer.error().kind() != ErrorKind::kOverloaded || !cores_may_return(cores)) {
        return answer;
      }
      std::this_thread::sleep_for(pause);
    }
  }
  /// A lease of this process was given back.
  void note_release() noexcept { released_at_.store(base::ticks(), std::memory_order_relaxed); }

  /// Connects to the resource manager there, and checks that it is one, and the one meant.
  Result<void> connect_manager(const wire::ManagerLocation& location);
  /// Where to find a resource manager when one is needed and none has been connected to: an
  /// address, or a directory with an address file.
  void set_manager(std::string named, std::string directory);
  /// Executor managers to lease from in its place, as SessionOptions::executors names them.
  void set_executors(std::string named) { executors_ = std::move(named); }

  /// Who waits at a resource manager that goes waits at the one that comes, behind those who ask
  /// there before.
  Result<std::vector<Grant>> request(const LeaseRequest& request);
  /// Ends what nobody has claimed of a lease that request() was granted.
  void give_back(std::uint64_t lease_id) noexcept;
  Result<std::vector<std::unique_ptr<NodeLink>>> claim(std::vector<Grant> grants,
                                                       std::shared_ptr<LeaseEvents> events);
  /// request and claim in one visit to the helper thread. A node that leaves or dies in between
  /// costs nothing where another one has room: it is done again. Waits as request() does.
  /// With `keep` it is claimed for others.
  Result<std::vector<std::unique_ptr<NodeLink>>> lease(const LeaseRequest& request,
                                                       const std::shared_ptr<LeaseEvents>& events,
                                                       bool keep = false);
  Result<std::int64_t> extend(const Grant& grant, std::chrono::seconds duration);
  Result<std::vector<NodeInfo>> nodes();
  Result<std::vector<LeaseInfo>> leases();

  [[nodiscard]] const Timeouts& timeouts() const noexcept;
  /// Of who may claim what is asked for here.
  [[nodiscard]] const HolderKey& holder_key() const noexcept { return key_.public_key(); }
  /// The secret that makes it, for who is to claim in place of this.
  [[nodiscard]] wire::SigningKey::Seed holder_seed() const noexcept { return key_.seed(); }
  /// Before anything else: claims what is for the holder of that key.
  void hold_with(wire::SigningKey key) { key_ = std::move(key); }
  [[nodiscard]] const base::NodeIdentity& node() const noexcept { return node_; }

 private:
  static constexpr int kMaxLeaseAttempts = 8;
  static constexpr auto kCoresReturn = std::chrono::seconds(1);
  static constexpr auto kAskAgain = std::chrono::milliseconds(5);
  static constexpr auto kAskLater = std::chrono::milliseconds(80);
  /// A manager notices the end of a wait so late.
  static constexpr auto kWaitMargin = std::chrono::seconds(2);

  Result<std::vector<Grant>> request_once(const LeaseRequest& wanted);
  /// `was_granted`: it is a node that failed, not the resource manager.
  Result<std::vector<std::unique_ptr<NodeLink>>> lease_once(
      const LeaseRequest& wanted, const std::shared_ptr<LeaseEvents>& events, bool keep,
      bool& was_granted);

  /// For what may send an application to the nodes.
  [[nodiscard]] std::chrono::milliseconds claim_limit(const Application* application) const;
  /// For the resource manager's answer to a request that may wait there.
  [[nodiscard]] std::chrono::milliseconds answer_limit(const LeaseRequest& wanted) const;
  [[nodiscard]] bool cores_may_return(std::uint64_t cores);

  /// For who asks here.
  [[nodiscard]] LeaseRequest held_here(LeaseRequest wanted) const;

  struct Manager;  ///< Lives on the helper thread's loop.
  /// Connects when there is no connection, or no longer one: a manager may have been started again,
  /// and on another node.
  Result<Manager*> manager();
  Result<Manager*> connect(const wire::ManagerLocation& location);
  Result<Manager*> list_executors();

  std::uint64_t generation_ = base::fork_generation();
  const base::Ticks opened_at_ = base::ticks();
  base::NodeIdentity node_;
  std::string transport_;
  wire::SigningKey key_ = wire::SigningKey::make();
  std::shared_ptr<ControlThread> thread_;
  std::mutex mutex_;  ///< Guards what follows; not held by who uses a Manager.
  Manager* manager_ = nullptr;
  std::vector<Manager*> old_managers_;  ///< Another thread may be asking one just now.
  wire::ManagerLocation location_;
  std::string named_;
  std::string directory_;
  std::string executors_;
  std::atomic<base::Ticks> released_at_{0};  ///< 0: never.
};

}  // namespace sublet::client
