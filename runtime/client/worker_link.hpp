#pragma once

// The data side of one worker: its channel, its calls under way, its staging memory.

#include <client/node_link.hpp>
#include <client/trace.hpp>
#include <sublet/call.hpp>
#include <transport/any/any_channel.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sublet::client {

struct Timeouts;

class WorkerLink;

/// One invocation from submit to its end. Of a synchronous call it lives on the stack; of others it
/// belongs to its lease's pool. `in` and `out` are the caller's.
struct PendingCall {
  static constexpr std::size_t kNotStaged = ~std::size_t{0};

  const void* in = nullptr;
  std::size_t in_size = 0;
  void* out = nullptr;
  std::size_t out_capacity = 0;
  std::uint16_t function = 0;
  bool idempotent = false;
  std::uint8_t attempts = 0;
  bool in_flight = false;

  WorkerLink* worker = nullptr;
  transport::Ticket ticket{};
  void* staging =
      nullptr;  ///< Memory of the arena that stands in for in and out; null: used in place.
  std::size_t staging_bytes = 0;
  std::size_t staged_out_at = 0;  ///< Offset of the output in it; kNotStaged: used in place.
  base::Ticks submitted = 0;      ///< Only when traced.

  Reply reply{};
  std::string error;  ///< Empty unless it failed.
  std::function<void(const Reply&)> then;
};

/// The client's link to one worker. Owner: the lease; used by the thread that uses the lease.
class WorkerLink {
 public:
  WorkerLink(NodeLink& node, std::uint32_t index, std::uint32_t worker_on_node,
             std::shared_ptr<transport::Arena> arena, TraceBuffer* trace,
             std::vector<PendingCall*>& continuations);
  ~WorkerLink();
  WorkerLink(const WorkerLink&) = delete;
  WorkerLink& operator=(const WorkerLink&) = delete;

  /// How to reach the worker in the node's current executor, by the transport that the node link
  /// chooses.
  Result<transport::Target> target(const Timeouts& timeouts) const;
  /// Takes a channel to that target.
  void take(transport::AnyClientChannel channel, const transport::Target& target);
  /// Both, one after the other.
  Result<void> connect(const Timeouts& timeouts);

  [[nodiscard]] transport::Kind kind() const noexcept { return kind_; }

  /// Takes calls.
  [[nodiscard]] bool up() const noexcept {
    return channel_.has_value() && !retiring_ && channel_->is_open();
  }
  /// Takes no more calls; those under way may end.
  void retire() noexcept { retiring_ = true; }
  /// Down for good: its node has left or is lost, and nothing is under way.
  [[nodiscard]] bool gone() const noexcept { return !channel_ && node_.state().departed(); }
  [[nodiscard]] NodeLink& node() const noexcept { return node_; }
  [[nodiscard]] std::uint32_t worker_on_node() const noexcept { return worker_on_node_; }
  [[nodiscard]] std::uint32_t generation() const noexcept { return generation_; }
  [[nodiscard]] std::uint32_t in_flight() const noexcept {
    return channel_ ? channel_->in_flight() : 0;
  }

  /// kOk: under way; the call stays where it is until it has ended. kAgain: no free slot.
  /// kClosed: the link is down. kInvalid, kOutputTooLarge...: `call.error` says why.
  Status submit(PendingCall& call) noexcept;

  /// A whole synchronous call whose memory is used in place, without a PendingCall. kOk: it has
  /// ended as `view` says. kAgain: nothing was done, take the long way (no free slot, memory to be
  /// staged, a timeline to be kept).
  Status call_in_place(const transport::Request& request, transport::Ticket& ticket,
                       transport::ReplyView& view) noexcept;

  /// Makes `call` of a call_in_place that ended badly, as if it had gone the long way.
  void finish_in_place(PendingCall& call, transport::Ticket ticket,
                       const transport::ReplyView& view) noexcept;

  [[nodiscard]] std::uint32_t index() const noexcept { return index_; }

  /// True when the call has ended: its reply and error are set, its slot is free.
  bool poll(PendingCall& call) noexcept;

  /// As poll, waiting until `deadline`.
  bool wait(PendingCall& call, base::Deadline deadline) noexcept;

  /// Ends the oldest call if it is done, so that submit finds a slot; false when it is not.
  bool poll_oldest() noexcept;
  /// Waits for the oldest call; false when `deadline` passed first or there is none.
  bool wait_oldest(base::Deadline deadline) noexcept;

  /// Waits until at least one call has ended, or `deadline`.
  void wait_any(base::Deadline deadline) noexcept;

  /// Collects all calls that have ended.
  void progress() noexcept;

  /// The executor is gone or going: calls under way end as `status`. The link is down afterwards.
  void take_down(Status status, const std::string& reason) noexcept;

  /// Called, off the hot path, when this link finds out that its executor is gone or going; takes
  /// down all links to it.
  std::function<void(WorkerLink&, const std::string& reason)> on_executor_gone;

 private:
  [[nodiscard]] bool input_in_place(const void* in, std::size_t size,
                                    std::size_t out_capacity) const noexcept;
  [[nodiscard]] bool output_in_place(const void* out, std::size_t capacity) const noexcept;
  Status submit_request(PendingCall& call, const void* in, void* out) noexcept;
  Status stage_and_submit(PendingCall& call, bool stage_in, bool stage_out) noexcept;
  void finish(PendingCall& call, const transport::ReplyView& view) noexcept;
  void finish_failed(PendingCall& call, const transport::ReplyView& view) noexcept;
  void release_staging(PendingCall& call) noexcept;

  NodeLink& node_;
  std::uint32_t index_;
  std::uint32_t worker_on_node_;
  std::uint32_t generation_ = 0;
  transport::Kind kind_{};
  std::optional<transport::AnyClientChannel> channel_;
  bool retiring_ = false;
  std::shared_ptr<transport::Arena> arena_;
  TraceBuffer* trace_;
  std::vector<PendingCall*>& continuations_;  ///< The lease's: ended calls whose `then` is to run.
  std::vector<PendingCall*> slots_;           ///< By ticket modulo slots: who is in which.
  std::uint32_t mask_ = 0;
  std::uint32_t next_sequence_ = 1;
  std::vector<void*> free_staging_;  ///< Blocks of tuning::kStagingBytes.
};

}  // namespace sublet::client
