#pragma once

#include <client/background.hpp>
#include <client/control_plane.hpp>
#include <client/functions.hpp>
#include <client/recovery.hpp>
#include <client/replacement.hpp>
#include <client/workers.hpp>
#include <sublet/function_record.h>
#include <sublet/lease.hpp>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace sublet::client {

/// A lease as its client sees it: shares of nodes, the workers there, the functions opened.
/// Owner: Lease, Function, Call, shared. Thread rule: see Lease.
///
/// STATES  of a worker: up -> ending (its executor died) -> down -> up again (Recovery) | gone (its
///         node's share has ended). up -> retiring (its node is being given back: takes no more
///         calls) -> gone. A gone worker's place is taken by one of another node when the resource
///         manager has cores (Replacement).
class LeaseImpl {
 public:
  static Result<std::shared_ptr<LeaseImpl>> create(std::shared_ptr<ControlPlane> control,
                                                   std::vector<std::unique_ptr<NodeLink>> nodes,
                                                   std::shared_ptr<LeaseEvents> events,
                                                   const LeaseRequest& request,
                                                   std::shared_ptr<TraceBuffer> trace);
  LeaseImpl(const LeaseImpl&) = delete;
  LeaseImpl& operator=(const LeaseImpl&) = delete;
  ~LeaseImpl();

  /// Calls go here.
  [[nodiscard]] Workers& workers() noexcept { return workers_; }

  // ---- These block, each at most for the session's timeout ----

  Result<std::uint16_t> open(const std::string& path, const std::string& name,
                             const FunctionOptions& options);
  /// A function of this program.
  Result<std::uint16_t> open_own(const sublet_function_record& record,
                                 const FunctionOptions& options);
  Result<void> extend(std::chrono::seconds duration);
  Result<Usage> usage();
  void release() noexcept;

  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  [[nodiscard]] WorkerInfo worker_info(std::size_t index) const;
  [[nodiscard]] const std::shared_ptr<transport::Arena>& arena() const noexcept { return arena_; }
  [[nodiscard]] LeaseEvents& events() noexcept { return *events_; }
  [[nodiscard]] std::int64_t expires_unix_ms() const noexcept {
    return expires_unix_ms_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] const std::string& function_name(std::uint16_t index) const {
    return functions_->name(index);
  }

 private:
  /// What the nodes that have left used; written in the background.
  struct Past {
    std::mutex mutex;
    Usage usage;
  };

  LeaseImpl(std::shared_ptr<ControlPlane> control, std::vector<std::unique_ptr<NodeLink>> nodes,
            std::shared_ptr<LeaseEvents> events, const LeaseRequest& request,
            std::shared_ptr<TraceBuffer> trace, std::shared_ptr<transport::Arena> arena);
  Result<std::uint16_t> open_prepared(const Functions::Prepared& prepared);
  [[nodiscard]] bool forked() const noexcept { return base::fork_generation() != generation_; }
  Result<void> connect_all();
  /// Recovery, then replacement.
  void mend(base::Ticks now);
  void adopt(Standins found, const std::vector<std::uint32_t>& places);
  /// Waits for a node, while others may stand in for those that have left.
  void await_node();
  void await_fate(const NodeState& state, std::uint32_t generation);
  /// Gives back nodes that have no worker here any more, in the background.
  void forget_nodes();
  [[nodiscard]] Replacement::Find finder() const;

  std::shared_ptr<ControlPlane> control_;
  std::shared_ptr<LeaseEvents> events_;
  std::shared_ptr<TraceBuffer> trace_;
  std::shared_ptr<transport::Arena> arena_;
  std::uint64_t generation_ = base::fork_generation();
  std::uint64_t id_ = 0;
  std::atomic<std::int64_t> expires_unix_ms_{0};  ///< Read in the background.
  bool released_ = false;
  LeaseRequest request_;  ///< What workers are replaced by.
  std::shared_ptr<Functions> functions_ = std::make_shared<Functions>();
  /// Without options: what a call looks for.
  std::unordered_map<const sublet_function_record*, std::uint16_t> own_functions_;
  /// The same with timeouts.
  std::map<std::pair<const sublet_function_record*, std::chrono::milliseconds>, std::uint16_t>
      own_timed_functions_;
  std::shared_ptr<Past> past_ = std::make_shared<Past>();
  std::vector<std::unique_ptr<NodeLink>> nodes_;
  Workers workers_;
  Background background_;
  Recovery recovery_;
  Replacement replacement_;
};

}  // namespace sublet::client
