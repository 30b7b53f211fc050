#pragma once

#include <client/call_states.hpp>
#include <sublet/call.hpp>
#include <transport/contract.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace sublet::client {

class WorkerLink;

/// Arena memory that stands in for a call's input and output.
struct Staged {
  static constexpr std::size_t kInPlace = ~std::size_t{0};

  std::byte* block = nullptr;  ///< Null: both are used in place.
  std::size_t bytes = 0;
  std::size_t out_at = kInPlace;  ///< Where the output lies in it.
};

/// One invocation, from its start until the application has its end. A synchronous one lives on the
/// stack; others belong to the pool of their lease. `in` and `out` are the caller's.
struct PendingCall {
  static constexpr std::uint8_t kLostWhileFirst = 50;

  const void* in = nullptr;
  std::size_t in_size = 0;
  void* out = nullptr;
  std::size_t out_capacity = 0;
  std::uint16_t function = 0;
  bool idempotent = false;
  bool by_reference = false;  ///< The input names other memory of the arena, relative to itself.
  std::uint8_t attempts = 0;  ///< That were lost; one as the first of its worker weighs more.
  CallState state = CallState::kIdle;

  // Its binding, in state submitted: the reply to `ticket` on the channel that `link` has. A link
  // ends all its calls before it drops that channel.
  transport::Ticket ticket{};
  WorkerLink* link = nullptr;

  Staged staged{};
  base::Ticks submitted = 0;    ///< Only when traced.
  PendingCall* next = nullptr;  ///< In the list that its state keeps it in: queued, dying.

  Reply reply{};
  std::string error;  ///< Empty unless it failed.
  std::function<void(const Reply&)> then;

  void on(CallEvent event) noexcept {
    state = client::next(state, event);
    assert(state != CallState::kImpossible);
  }
};

/// Calls in order, linked through PendingCall::next; owns none of them.
class CallList {
 public:
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] PendingCall* front() const noexcept { return first_; }
  void push_back(PendingCall& call) noexcept {
    call.next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = &call;
    last_ = &call;
  }
  void push_front(PendingCall& call) noexcept {
    call.next = first_;
    if (first_ == nullptr) last_ = &call;
    first_ = &call;
  }
  /// Null when it is empty.
  PendingCall* pop_front() noexcept {
    PendingCall* call = first_;
    if (call != nullptr) first_ = call->next;
    return call;
  }

 private:
  PendingCall* first_ = nullptr;
  PendingCall* last_ = nullptr;
};

}  // namespace sublet::client
