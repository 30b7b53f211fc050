#pragma once

// The one file that names every transport of this build.

#include <sublet/result.hpp>
#include <transport/shm/shm_setup.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>

namespace sublet::transport {

/// Where an executor takes data connections, and what it asks for.
struct Endpoint {
  std::uint32_t generation = 0;
  std::string shm_socket;
  Token token{};
};

enum class Kind : std::uint8_t { kShm };

[[nodiscard]] const char* to_string(Kind kind) noexcept;

/// The best transport between this process and an endpoint, or kUnsupported with what was tried.
/// SUBLET_TRANSPORT overrides the choice.
Result<Kind> choose(const Endpoint& endpoint, bool same_node);

/// A client's channel over whichever transport was chosen: a switch over closed alternatives, so
/// that each transport's hot path is compiled into its caller.
class AnyClientChannel {
  std::variant<shm::ClientChannel> channel_;

  template <class Self, class F>
  static decltype(auto) visit(Self& self, F&& f) noexcept {
    return f(*std::get_if<shm::ClientChannel>(&self.channel_));
  }

 public:
  AnyClientChannel(shm::ClientChannel channel) : channel_(std::move(channel)) {}  // NOLINT

  [[nodiscard]] Status submit(const Request& request, Ticket& ticket) noexcept {
    return visit(*this, [&](auto& c) { return c.submit(request, ticket); });
  }
  [[nodiscard]] Status poll(Ticket ticket, ReplyView& reply) noexcept {
    return visit(*this, [&](auto& c) { return c.poll(ticket, reply); });
  }
  [[nodiscard]] Status wait(Ticket ticket, ReplyView& reply, base::Deadline deadline) noexcept {
    return visit(*this, [&](auto& c) { return c.wait(ticket, reply, deadline); });
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

Result<AnyClientChannel> connect(Kind kind, const Endpoint& endpoint, std::uint32_t worker,
                                 std::uint32_t slots, std::shared_ptr<Arena> arena,
                                 std::chrono::milliseconds timeout);

}  // namespace sublet::transport
