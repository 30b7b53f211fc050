#pragma once

#include <client/control_plane.hpp>
#include <client/worker_link.hpp>
#include <sublet/lease.hpp>

#include <atomic>
#include <deque>
#include <future>
#include <memory>
#include <string>
#include <vector>

namespace sublet::client {

/// A lease as its client sees it: links to nodes and to workers, the functions opened, the calls
/// under way. Owner: Lease, Function, Call, shared. Thread rule: see Lease.
///
/// STATES  of a worker: up -> down (its executor died) -> up again (replaced; found on the next
///         submit) | gone (its node's share has ended). up -> retiring (its node is being given
///         back: takes no more calls) -> gone. A gone worker's place is taken by one of another
///         node when the resource manager has cores.
class LeaseImpl {
 public:
  struct OpenFunction {
    FunctionRequest request;
    /// Of the library, for nodes that come later; functions of one library share it.
    std::shared_ptr<const std::vector<std::byte>> content;
  };

  static Result<std::shared_ptr<LeaseImpl>> create(std::shared_ptr<ControlPlane> control,
                                                   std::vector<std::unique_ptr<NodeLink>> nodes,
                                                   std::shared_ptr<LeaseEvents> events,
                                                   const LeaseRequest& request,
                                                   std::shared_ptr<TraceBuffer> trace);
  LeaseImpl(const LeaseImpl&) = delete;
  LeaseImpl& operator=(const LeaseImpl&) = delete;
  ~LeaseImpl();

  // ---- Hot path: lease_datapath.cpp ----

  Reply call(std::uint16_t function, bool idempotent, const void* in, std::size_t in_size,
             void* out, std::size_t out_capacity) noexcept;
  /// Never null; a call that could not be submitted has ended already.
  PendingCall* async(std::uint16_t function, bool idempotent, const void* in, std::size_t in_size,
                     void* out, std::size_t out_capacity) noexcept;
  Status try_async(std::size_t worker, std::uint16_t function, bool idempotent, const void* in,
                   std::size_t in_size, void* out, std::size_t out_capacity,
                   PendingCall*& call) noexcept;
  /// True when the call has ended for good (lost calls of idempotent functions start again).
  bool poll(PendingCall& call) noexcept;
  bool wait(PendingCall& call, base::Deadline deadline) noexcept;
  /// Gives an ended call of async back to the pool.
  void recycle(PendingCall* call) noexcept;
  void progress() noexcept;

  // ---- Everything else: lease_impl.cpp ----

  Result<std::uint16_t> open(const std::string& path, const std::string& name,
                             FunctionOptions options);
  Result<BatchReport> batch(std::uint16_t function, bool idempotent, std::span<BatchItem> items,
                            std::chrono::nanoseconds limit);
  void hand_over(PendingCall* call, std::function<void(const Reply&)> then);
  bool wait_all(base::Deadline deadline) noexcept;
  Result<void> extend(std::chrono::seconds duration);
  Result<Usage> usage();
  void release() noexcept;

  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  [[nodiscard]] std::size_t workers() const noexcept { return workers_.size(); }
  [[nodiscard]] WorkerInfo worker_info(std::size_t index) const;
  [[nodiscard]] const std::shared_ptr<transport::Arena>& arena() const noexcept { return arena_; }
  [[nodiscard]] LeaseEvents& events() noexcept { return *events_; }
  [[nodiscard]] std::int64_t expires_unix_ms() const noexcept { return expires_unix_ms_; }
  [[nodiscard]] const std::string& last_error() const noexcept { return last_error_; }
  [[nodiscard]] const std::string& function_name(std::uint16_t index) const {
    return functions_[index].request.name;
  }

 private:
  LeaseImpl(std::shared_ptr<ControlPlane> control, std::vector<std::unique_ptr<NodeLink>> nodes,
            std::shared_ptr<LeaseEvents> events, const LeaseRequest& request,
            std::shared_ptr<TraceBuffer> trace);
  Result<void> connect_all();
  std::unique_ptr<WorkerLink> make_link(NodeLink& node, std::uint32_t index,
                                        std::uint32_t worker_on_node);
  tl::unexpected<Error> not_connected(WorkerLink& link, const transport::Target& target,
                                      const Error& error);
  Result<void> open_on(NodeLink& node, const FunctionRequest& function,
                       std::span<const std::byte> content);
  void executor_gone(WorkerLink& link, const std::string& reason) noexcept;

  /// Looks after workers whose nodes leave or are lost: called when LeaseEvents says so, and until
  /// everything is settled. `may_wait`: there is no worker at all, so an answer of the resource
  /// manager is worth waiting for.
  void attend(bool may_wait = false) noexcept;
  /// True when no worker is retiring any more.
  bool retire_leaving();
  /// Puts workers of other nodes into the places of those that are gone; true when none is. They
  /// are asked for on a thread of its own: a resource manager may be long in answering.
  bool replace_gone(bool may_wait);
  /// Waits longer before the next attempt.
  void not_replaced(std::size_t workers, const std::string& why);
  static Result<std::vector<std::unique_ptr<NodeLink>>> ask_for(
      std::shared_ptr<ControlPlane> control, std::shared_ptr<LeaseEvents> events,
      LeaseRequest request, std::uint32_t most);
  Result<void> adopt(std::vector<std::unique_ptr<NodeLink>> nodes, std::span<const std::size_t> at);
  void forget_nodes();

  /// The worker with the least under way; null when none is up.
  WorkerLink* pick() noexcept;
  WorkerLink* pick_least_busy() noexcept;
  /// A synchronous call that may have to wait for a slot, be staged, traced, or run again.
  [[gnu::noinline]] Reply call_the_long_way(transport::Request request, bool idempotent) noexcept;
  /// Brings workers whose executors were replaced up again; false when none is up afterwards.
  bool recover() noexcept;
  bool recover(WorkerLink& link) noexcept;
  /// The end of a synchronous call that went wrong: the error is noted, a lost one may run again.
  [[gnu::noinline]] Reply end_in_place(WorkerLink& link, transport::Request request,
                                       bool idempotent, transport::Ticket ticket,
                                       transport::ReplyView view) noexcept;
  /// Submits to some worker, waiting for a slot when all are taken. Ends the call itself when it
  /// cannot be submitted at all.
  void submit_anywhere(PendingCall& call) noexcept;
  void fail_call(PendingCall& call, Status status, const std::string& text) noexcept;
  /// Submits a lost call of an idempotent function again; false when the call's end is final.
  bool retry(PendingCall& call) noexcept;
  void note_failure(PendingCall& call) noexcept;
  void run_continuations() noexcept;
  PendingCall* take_from_pool() noexcept;

  std::shared_ptr<ControlPlane> control_;
  std::shared_ptr<LeaseEvents> events_;
  std::shared_ptr<TraceBuffer> trace_;
  std::uint64_t id_ = 0;
  std::int64_t expires_unix_ms_ = 0;
  bool released_ = false;
  std::shared_ptr<transport::Arena> arena_;
  std::vector<std::unique_ptr<NodeLink>> nodes_;
  std::vector<PendingCall*> continuations_;
  std::vector<std::unique_ptr<WorkerLink>> workers_;
  std::size_t next_worker_ = 0;
  std::vector<OpenFunction> functions_;
  std::deque<PendingCall> pool_storage_;
  std::vector<PendingCall*> pool_;
  std::size_t handed_over_ = 0;  ///< Calls with a continuation that has not run yet.
  std::string last_error_;
  LeaseRequest request_;  ///< What workers are replaced by.
  std::future<Result<std::vector<std::unique_ptr<NodeLink>>>> asked_;  ///< Workers to replace by.
  base::Ticks attend_at_ = 0;                                          ///< Not before.
  base::Ticks replace_at_ = 0;                                         ///< Not before.
  base::Ticks replace_pause_ = 0;                                      ///< Until the next try.
  Usage past_;               ///< Of nodes that have been given back.
  std::string down_reason_;  ///< Why the last worker that went down did, and did not come back.
};

}  // namespace sublet::client
