#pragma once

// HOT-PATH BUDGET  For the first row of the table one comparison; for others one comparison for
// each row before theirs and a call. No virtual call.

#include <sublet/result.hpp>
#include <transport/any/transports.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

namespace sublet::transport {

/// A client's channel over whichever transport was chosen: a switch over closed alternatives. The
/// hot path of the table's first row, shm, where nanoseconds count, is compiled into its caller;
/// those of networks are a call away. Their arguments are copies, so that the first one's stay in
/// registers (measured: 25 ns of 105 a call).
class AnyClientChannel {
  Transports::ClientChannels channel_;

  template <std::size_t I = 0, class Self, class F>
  static decltype(auto) visit(Self& self, F&& f) noexcept {
    auto* const channel = std::get_if<I>(&self.channel_);
    if constexpr (I + 1 < Transports::kRows) {
      if (channel != nullptr) [[likely]] {
        return f(*channel);
      }
      return visit<I + 1>(self, std::forward<F>(f));
    } else {
      return f(*channel);
    }
  }
  /// Null unless it is a channel of the first row.
  [[gnu::always_inline]] auto* first() noexcept { return std::get_if<0>(&channel_); }

  [[nodiscard]] Status submit_remote(const Request& request, Ticket& ticket) noexcept;
  [[nodiscard]] Status poll_remote(Ticket ticket, ReplyView& reply) noexcept;
  [[nodiscard]] Status call_remote(const Request& request, Ticket& ticket,
                                   ReplyView& reply) noexcept;
  [[nodiscard]] Status wait_remote(Ticket ticket, ReplyView& reply,
                                   base::Deadline deadline) noexcept;

 public:
  template <class Channel>
  explicit AnyClientChannel(Channel channel) : channel_(std::move(channel)) {}

  [[nodiscard, gnu::always_inline]] Status submit(const Request& request, Ticket& ticket) noexcept {
    if (auto* near = first()) [[likely]] {
      return near->submit(request, ticket);
    }
    const Request copy = request;
    Ticket issued = ticket;
    const Status status = submit_remote(copy, issued);
    ticket = issued;
    return status;
  }
  [[nodiscard, gnu::always_inline]] Status poll(Ticket ticket, ReplyView& reply) noexcept {
    if (auto* near = first()) [[likely]] {
      return near->poll(ticket, reply);
    }
    ReplyView copy = reply;
    const Status status = poll_remote(ticket, copy);
    reply = copy;
    return status;
  }
  [[nodiscard, gnu::always_inline]] Status wait(Ticket ticket, ReplyView& reply,
                                                base::Deadline deadline) noexcept {
    if (auto* near = first()) [[likely]] {
      return near->wait(ticket, reply, deadline);
    }
    ReplyView copy = reply;
    const Status status = wait_remote(ticket, copy, deadline);
    reply = copy;
    return status;
  }
  /// submit and wait in one, with no deadline but the call's own end.
  [[nodiscard, gnu::always_inline]] Status call(const Request& request, Ticket& ticket,
                                                ReplyView& reply) noexcept {
    if (auto* near = first()) [[likely]] {
      return near->call(request, ticket, reply);
    }
    const Request copy = request;
    Ticket issued;
    ReplyView got;
    const Status status = call_remote(copy, issued, got);
    ticket = issued;
    reply = got;
    return status;
  }
  [[nodiscard]] bool check_peer() noexcept {
    return visit(*this, [](auto& c) { return c.check_peer(); });
  }
  void close() noexcept {
    visit(*this, [](auto& c) { c.close(); });
  }
  [[nodiscard]] bool is_open() const noexcept {
    return visit(*this, [](auto& c) { return c.is_open(); });
  }
  [[nodiscard]] std::uint32_t slots() const noexcept {
    return visit(*this, [](auto& c) { return c.slots(); });
  }
  [[nodiscard]] std::uint32_t in_flight() const noexcept {
    return visit(*this, [](auto& c) { return c.in_flight(); });
  }
};

/// One worker to connect to. `options.address` is of a listener of that kind.
struct Target {
  Kind kind{};
  ConnectOptions options;
};

/// Connects to all of them, side by side where the transport has round trips to overlap. One result
/// for each target, in their order; all with the same arena.
std::vector<Result<AnyClientChannel>> connect(const std::vector<Target>& targets,
                                              const std::shared_ptr<Arena>& arena);

}  // namespace sublet::transport
