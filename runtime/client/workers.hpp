#pragma once

#include <base/fork_guard.hpp>
#include <client/functions.hpp>
#include <client/lease_events.hpp>
#include <client/worker_link.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace sublet::client {

/// The workers of a lease and the calls on them: which call goes to which worker, which waits, what
/// becomes of those whose executor died (call_states.hpp). Nothing here waits for a manager: what
/// other threads have found out is picked up by attend(), which every function calls when there is
/// something.
///
/// Owner: the lease. Thread rule: see Lease; any thread once it is shared.
class Workers final : private CallSink {
 public:
  struct Options {
    bool replace = true;  ///< Others may take the places of workers that are gone.
    /// So long calls wait for a worker when there is none now, but may be one again.
    std::chrono::nanoseconds patience = std::chrono::seconds(30);
  };
  /// One use of a lease, from its begin to its end: has the lock of one that is shared.
  class Turn {
   public:
    explicit Turn(const Workers& workers) noexcept : mutex_(workers.turns_.get()) {
      if (mutex_ != nullptr) [[unlikely]]
        mutex_->lock();
    }
    ~Turn() {
      if (mutex_ != nullptr) [[unlikely]]
        mutex_->unlock();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    std::recursive_mutex* mutex_;
  };
  /// Brings workers back and others in their places, off the hot path, without waiting.
  using Mend = std::function<void(base::Ticks now)>;

  Workers(std::shared_ptr<LeaseEvents> events, std::shared_ptr<transport::Arena> arena,
          TraceBuffer* trace, const Functions& functions, Options options);
  ~Workers() override;

  void set_mend(Mend mend) { mend_ = std::move(mend); }
  /// A link for worker `index`, down.
  [[nodiscard]] std::unique_ptr<WorkerLink> make_link(std::shared_ptr<const NodeShare> share,
                                                      std::uint32_t index,
                                                      std::uint32_t worker_on_node);
  void add(std::unique_ptr<WorkerLink> link) { links_.push_back(std::move(link)); }
  /// Puts `link` into the place of one that is down.
  void replace(std::unique_ptr<WorkerLink> link);
  /// From now on several threads may use this; by the one that has so far.
  void share() {
    if (!turns_) turns_ = std::make_unique<std::recursive_mutex>();
  }
  /// Room for a call in every slot, so that async allocates only beyond that.
  void reserve_calls();

  // ---- Hot path: workers_datapath.cpp ----

  Reply call(std::uint16_t function, bool idempotent, const void* in, std::size_t in_size,
             void* out, std::size_t out_capacity) noexcept;
  /// Never null. A call that finds no free slot waits in a queue, not here.
  PendingCall* async(std::uint16_t function, bool idempotent, const void* in, std::size_t in_size,
                     void* out, std::size_t out_capacity, bool by_reference = false) noexcept;
  /// True when every worker sees all of the arena: then a call may be made by reference, and ends
  /// with kInvalid should its worker be one by then that does not.
  [[nodiscard]] bool all_see_arena() const noexcept;
  Status try_async(std::size_t worker, std::uint16_t function, bool idempotent, const void* in,
                   std::size_t in_size, void* out, std::size_t out_capacity, PendingCall*& call,
                   bool by_reference = false) noexcept;
  /// True when the call has ended for good (lost calls of idempotent functions run again).
  bool poll(PendingCall& call) noexcept;
  /// As poll; false as well when it is another thread's turn.
  bool try_poll(PendingCall& call) noexcept;
  bool wait(PendingCall& call, base::Deadline deadline) noexcept;
  /// Gives an ended call of async back to the pool.
  void recycle(PendingCall* call) noexcept;
  void progress() noexcept;

  // ---- Everything else: workers.cpp ----

  void hand_over(PendingCall* call, std::function<void(const Reply&)> then);
  bool wait_all(base::Deadline deadline) noexcept;
  /// Looks after the workers: ends what is under way on executors that died, mends, submits what
  /// waits, fails what waits in vain.
  void attend() noexcept;
  /// Takes no more calls; those that wait in the queue end with kClosed.
  void stop(const std::string& reason) noexcept;
  /// Ends what is under way once executors cannot write to its memory any more, waiting for that,
  /// then runs all continuations. After stop(), when the executors have been told to end.
  void close() noexcept;
  /// What stands in the way of workers that should be there, for errors.
  void note_obstacle(std::string why) { obstacle_ = std::move(why); }

  [[nodiscard]] const std::vector<std::unique_ptr<WorkerLink>>& links() const noexcept {
    return links_;
  }
  [[nodiscard]] std::size_t size() const noexcept { return links_.size(); }
  [[nodiscard]] const std::string& last_error() const noexcept { return last_error_; }

 private:
  void ended_badly(PendingCall& call) noexcept override;
  void never_started(PendingCall& call) noexcept override { run_again(call); }
  void run_again(PendingCall& call) noexcept;
  void executor_ends() noexcept override { events_->stay_attentive(); }

  /// The worker with the least under way; null when none is up.
  WorkerLink* pick() noexcept;
  WorkerLink* pick_least_busy() noexcept;
  /// A synchronous call that may have to wait, be staged, traced, or run again.
  [[gnu::noinline]] Reply call_the_long_way(transport::Request request, bool idempotent) noexcept;
  /// The end of a synchronous call that went wrong.
  [[gnu::noinline]] Reply end_in_place(WorkerLink& link, transport::Request request,
                                       bool idempotent, transport::Ticket ticket,
                                       transport::ReplyView view) noexcept;
  void start(PendingCall& call) noexcept;
  /// False when the call has to wait.
  bool submit_somewhere(PendingCall& call) noexcept;
  void pump() noexcept;
  [[gnu::noinline]] bool wait_long(PendingCall& call, base::Deadline deadline) noexcept;
  /// Sleeps or spins until something may have happened to `call`, for `slice` at most.
  void wait_a_little(PendingCall& call, base::Deadline deadline,
                     std::chrono::nanoseconds slice) noexcept;
  /// Now and then: asks the system whether peers of busy links are there.
  void look_around() noexcept;
  void notice_ends(base::Ticks now) noexcept;
  /// In a forked child: the workers are the parent's, and so are the calls under way.
  void disown() noexcept;
  void fail_queue_in_vain(base::Ticks now) noexcept;
  [[nodiscard]] bool may_come_up(const WorkerLink& link) const noexcept;
  [[nodiscard]] bool settled() const noexcept;
  void refuse(PendingCall& call, Status status, const std::string& text) noexcept;
  void note_failure(PendingCall& call) noexcept;
  void run_continuations() noexcept;
  PendingCall* take_from_pool() noexcept;

  std::unique_ptr<std::recursive_mutex> turns_;  ///< Null until it is shared.
  std::vector<std::unique_ptr<WorkerLink>> links_;
  std::size_t next_worker_ = 0;
  std::shared_ptr<LeaseEvents> events_;
  CallList queue_;  ///< Calls that wait for a worker, oldest first.
  std::vector<PendingCall*> continuations_;
  std::deque<PendingCall> pool_storage_;
  std::vector<PendingCall*> pool_;
  std::size_t handed_over_ = 0;  ///< Calls with a continuation that has not run yet.
  Staging staging_;
  TraceBuffer* trace_;
  const Functions& functions_;
  Options options_;
  Mend mend_;
  bool stopped_ = false;
  bool disowned_ = false;
  std::uint64_t generation_ = base::fork_generation();
  std::uint32_t empty_polls_ = 0;
  base::Ticks looked_at_ = 0;
  base::Ticks attend_at_ = 0;        ///< Not before.
  base::Ticks no_worker_since_ = 0;  ///< 0: there is one, or nobody asks.
  std::string stop_reason_;
  std::string obstacle_;
  std::string last_error_;
};

}  // namespace sublet::client
