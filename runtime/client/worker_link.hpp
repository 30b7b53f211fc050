#pragma once

// The data side of one worker: its connection, and the calls under way on it.

#include <client/node_state.hpp>
#include <client/pending_call.hpp>
#include <client/staging.hpp>
#include <client/trace.hpp>
#include <transport/any/any_channel.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sublet::client {

struct Timeouts;

/// The way to a worker of one executor.
struct Route {
  transport::Target target;
  std::uint32_t generation = 0;  ///< Of the executor.
};

/// How to reach worker `worker_on_node` in the newest executor of that share.
Result<Route> route_to(const NodeShare& share, std::uint32_t worker_on_node,
                       const Timeouts& timeouts);
/// `error` of connecting by `route`, with where that led and how the executor ended, if it did.
Error not_connected(const NodeShare& share, std::uint32_t worker_on_node, const Route& route,
                    const Error& error);

/// Who decides what becomes of calls. Off the hot path. Must not come back to the link.
class CallSink {
 public:
  virtual ~CallSink() = default;
  /// The call has ended, with an error that is final, or it is dying and nothing can write to its
  /// memory any more.
  virtual void ended_badly(PendingCall& call) noexcept = 0;
  /// The call was under way behind one that killed its worker: no function has seen it. It is
  /// dying, and nothing can write to its memory any more.
  virtual void never_started(PendingCall& call) noexcept = 0;
  /// A link has found out that its executor, which other links may have too, is dead or dying.
  virtual void executor_ends() noexcept = 0;
};

/// The client's link to one worker. Owner: the lease's workers; used by the lease's thread.
///
/// STATES  down -> up (take: connected to the node's executor of one generation)
///         -> retiring (its node is being given back: takes no more calls; up again when it is not)
///         -> ending (its executor is dead or dying: what is under way waits until the process is
///         gone) -> down. A link never changes its state inside of submit, poll or wait.
class WorkerLink {
 public:
  WorkerLink(std::shared_ptr<const NodeShare> share, std::uint32_t index,
             std::uint32_t worker_on_node, Staging& staging, TraceBuffer* trace,
             std::vector<PendingCall*>& continuations, CallSink& sink);
  ~WorkerLink();
  WorkerLink(const WorkerLink&) = delete;
  WorkerLink& operator=(const WorkerLink&) = delete;

  /// Takes a channel that leads there. Only a link that is down does.
  void take(transport::AnyClientChannel channel, const Route& route);

  // ---- Hot path: worker_link_datapath.hpp ----

  /// Takes calls.
  [[nodiscard]] bool up() const noexcept { return phase_ == Phase::kUp && channel_->is_open(); }
  /// kOk: under way; the call stays where it is until it has ended. kAgain: no free slot, or no
  /// room to stage it. kClosed: the link is not up. kInvalid: `call.error` says why.
  Status submit(PendingCall& call) noexcept;
  /// A whole synchronous call whose memory is used in place, without a PendingCall. kOk: it has
  /// ended as `view` says. kAgain: nothing was done, take the long way (no free slot, memory to be
  /// staged, a timeline to be kept).
  Status call_in_place(const transport::Request& request, transport::Ticket& ticket,
                       transport::ReplyView& view) noexcept;
  /// True when the call is not under way here any more: it has ended, is dying or is to run again.
  bool poll(PendingCall& call) noexcept;
  /// As poll, waiting until `deadline`. Not while the link is ending: see ending().
  bool wait(PendingCall& call, base::Deadline deadline) noexcept;

  // ---- Everything else: worker_link.cpp ----

  /// Makes `call` of a call_in_place that ended badly, as if it had gone the long way.
  void finish_in_place(PendingCall& call, transport::Ticket ticket,
                       const transport::ReplyView& view) noexcept;
  /// Collects the call that holds the next slot if it is done; false when it is not.
  bool poll_oldest() noexcept;
  /// Waits for the oldest call under way. False when there is none.
  bool wait_oldest(base::Deadline deadline) noexcept;
  /// Collects all calls that have ended.
  void progress() noexcept;
  /// Asks the system whether the peer is there; false when the channel has ended.
  bool check_peer() noexcept { return !channel_ || channel_->check_peer(); }

  /// Takes no more calls; those under way may end.
  void retire() noexcept {
    if (phase_ == Phase::kUp) phase_ = Phase::kRetiring;
  }
  /// Takes retire() back. One that is down by now is connected again.
  void stay() noexcept {
    if (phase_ == Phase::kRetiring) phase_ = Phase::kUp;
  }
  /// Retired, with no call left: closes the channel to an executor that may run on.
  void leave() noexcept {
    left_ = true;
    (void)close("its node has left", true);
  }
  /// Its executor is dead or dying.
  void begin_ending() noexcept;
  /// Ends what is under way on an ending link, once nothing can write to its memory any more and
  /// how the executor ended is known, or both have been waited for long enough. True when the link
  /// is down then.
  bool settle(base::Ticks now) noexcept;
  /// Ends all calls under way as kClosed, and the channel. For a lease that is being released: its
  /// executors have been told to end. False when one may still write to the calls' memory.
  bool close(const std::string& reason, bool by_force) noexcept;

  /// In a forked child: ends all calls as kClosed and touches nothing that the parent uses. The
  /// link stays down.
  void disown(const std::string& reason) noexcept;

  [[nodiscard]] bool down() const noexcept { return phase_ == Phase::kDown; }
  [[nodiscard]] bool ending() const noexcept { return phase_ == Phase::kEnding; }
  [[nodiscard]] bool retiring() const noexcept { return phase_ == Phase::kRetiring; }
  /// Has a channel that takes calls or has some under way.
  [[nodiscard]] bool listening() const noexcept {
    return phase_ == Phase::kUp || phase_ == Phase::kRetiring;
  }
  /// Down, and the newest executor of its node, of that generation, can be connected to: it is
  /// newer than the last one, or was left while it ran.
  [[nodiscard]] bool may_return_to(std::uint32_t newest) const noexcept {
    return down() && (newest > generation_ || (newest == generation_ && left_));
  }
  /// Down, and its place is to be taken by a worker of another node.
  [[nodiscard]] bool to_be_replaced() const noexcept { return down() && share_->state->departed(); }
  /// The channel has ended, or the node's helper says that the executor has.
  [[nodiscard]] bool executor_has_ended() const noexcept {
    return channel_ &&
           (!channel_->is_open() || share_->state->ended(generation_) || share_->state->lost());
  }
  /// Calls under way, dying ones included.
  [[nodiscard]] bool busy() const noexcept { return in_flight() != 0 || !dying_.empty(); }
  [[nodiscard]] std::uint32_t in_flight() const noexcept {
    return channel_ ? channel_->in_flight() : 0;
  }

  [[nodiscard]] const std::shared_ptr<const NodeShare>& share() const noexcept { return share_; }
  [[nodiscard]] std::uint32_t index() const noexcept { return index_; }
  [[nodiscard]] std::uint32_t worker_on_node() const noexcept { return worker_on_node_; }
  [[nodiscard]] std::uint32_t generation() const noexcept { return generation_; }
  [[nodiscard]] transport::Kind kind() const noexcept { return kind_; }
  /// Its worker sees all of the arena.
  [[nodiscard]] bool sees_arena() const noexcept { return kind_ == transport::same_node_kind(); }

 private:
  enum class Phase : std::uint8_t { kDown, kUp, kRetiring, kEnding };

  [[nodiscard]] bool input_in_place(const void* in, std::size_t size,
                                    std::size_t out_capacity) const noexcept;
  [[nodiscard]] bool output_in_place(const void* out, std::size_t capacity) const noexcept;
  Status submit_request(PendingCall& call, const void* in, void* out) noexcept;
  Status stage_and_submit(PendingCall& call, bool stage_in, bool stage_out) noexcept;
  void finish(PendingCall& call, const transport::ReplyView& view) noexcept;
  void finish_badly(PendingCall& call, const transport::ReplyView& view) noexcept;
  [[nodiscard]] std::string end_text() const;
  /// Calls without a reply end as `status`.
  void take_down(Status status, const std::string& reason) noexcept;
  /// The number of the last call that the executor has begun, when that is known.
  [[nodiscard]] std::optional<std::uint32_t> last_started_call() const;
  void end_call(PendingCall& call, Status status, const std::string& reason) noexcept;
  /// Where a call stands among those under way, 0 for the oldest there can be.
  [[nodiscard]] std::uint32_t rank(std::uint32_t sequence) const noexcept {
    return (sequence - next_sequence_) & mask_;
  }

  std::shared_ptr<const NodeShare> share_;
  std::uint32_t index_;
  std::uint32_t worker_on_node_;
  Phase phase_ = Phase::kDown;
  transport::Kind kind_{};
  std::uint32_t generation_ = 0;
  bool left_ = false;  ///< Its channel was closed by leave().
  std::optional<transport::AnyClientChannel> channel_;
  std::optional<transport::AnyClientChannel> parents_channel_;  ///< In a forked child.
  Staging& staging_;
  TraceBuffer* trace_;
  std::vector<PendingCall*>& continuations_;  ///< The lease's: ended calls whose `then` is to run.
  CallSink& sink_;
  std::vector<PendingCall*> slots_;  ///< By ticket modulo slots: who is in which.
  std::uint32_t mask_ = 0;
  std::uint32_t next_sequence_ = 1;
  CallList dying_;
  base::Ticks ending_since_ = 0;
  /// The call whose own reply says that it killed the worker; those behind it have not been
  /// started.
  std::optional<std::uint32_t> killer_;
};

}  // namespace sublet::client
