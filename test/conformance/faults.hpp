#pragma once

// A client's channel with faults made to order, for what code on top of a channel must stand:
// queues that are full, replies that are late, a connection that drops at a given operation.

#include <transport/contract.hpp>

#include <cstdint>
#include <functional>
#include <utility>

namespace sublet::conformance {

/// Which faults, counted in operations: every submit, poll and wait is one.
struct FaultPlan {
  std::uint64_t drop_at = 0;     ///< Before this operation `drop` is called, once; 0: never.
  std::function<void()> drop{};  ///< Breaks the connection from outside; empty: close().
  std::uint32_t full_for = 0;    ///< So many submits in a row are refused before one is taken.
  std::uint32_t late_for = 0;    ///< So many looks at a call say "not yet" before one counts.
};

/// A ClientChannel around another one. Owner and thread rule as for the other.
template <transport::ClientChannel Channel>
class FaultyClient {
 public:
  FaultyClient(Channel channel, FaultPlan plan)
      : channel_(std::move(channel)), plan_(std::move(plan)) {}

  [[nodiscard]] Status submit(const transport::Request& request,
                              transport::Ticket& ticket) noexcept {
    operate();
    if (channel_.is_open() && refused_ < plan_.full_for) {
      ++refused_;
      return Status::kAgain;
    }
    refused_ = 0;
    return channel_.submit(request, ticket);
  }

  [[nodiscard]] Status poll(transport::Ticket ticket, transport::ReplyView& reply) noexcept {
    operate();
    if (is_late()) return Status::kAgain;
    return channel_.poll(ticket, reply);
  }

  [[nodiscard]] Status wait(transport::Ticket ticket, transport::ReplyView& reply,
                            base::Deadline deadline) noexcept {
    operate();
    return channel_.wait(ticket, reply, deadline);
  }

  [[nodiscard]] bool check_peer() noexcept { return channel_.check_peer(); }
  void close() noexcept { channel_.close(); }
  [[nodiscard]] bool is_open() const noexcept { return channel_.is_open(); }
  [[nodiscard]] std::uint32_t slots() const noexcept { return channel_.slots(); }
  [[nodiscard]] std::uint32_t in_flight() const noexcept { return channel_.in_flight(); }

  [[nodiscard]] std::uint64_t operations() const noexcept { return operations_; }

 private:
  void operate() noexcept {
    if (++operations_ != plan_.drop_at) return;
    if (plan_.drop) {
      plan_.drop();
    } else {
      channel_.close();
    }
  }
  bool is_late() noexcept {
    if (looked_ < plan_.late_for) {
      ++looked_;
      return true;
    }
    looked_ = 0;
    return false;
  }

  Channel channel_;
  FaultPlan plan_;
  std::uint64_t operations_ = 0;
  std::uint32_t refused_ = 0;
  std::uint32_t looked_ = 0;
};

}  // namespace sublet::conformance
