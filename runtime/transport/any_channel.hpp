#pragma once

// The client's side of the factory: names every transport of this build, and chooses among them.

#include <sublet/result.hpp>
#include <transport/fabric/fabric_setup.hpp>
#include <transport/kind.hpp>
#include <transport/setup.hpp>
#include <transport/shm/shm_setup.hpp>
#include <transport/tcp/tcp_setup.hpp>
#include <transport/verbs/verbs_setup.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace sublet::transport {

/// Where an executor takes data connections, and what it asks for.
struct Endpoint {
  struct Address {
    Kind kind = Kind::kShm;
    std::string text;  ///< ConnectOptions::address.
  };
  std::uint32_t generation = 0;
  std::vector<Address> addresses;
  /// Why it has no address of other transports that were asked for; for people.
  std::vector<std::string> refusals;
  Token token{};
};

/// Which transports a client would use to an executor, best first, and why; and why not the others.
struct Preference {
  std::vector<Kind> kinds;
  std::string reasons;  ///< For people: the debug log and `sublet doctor`.
};

/// `wanted` names one transport, or is empty: then the same node is reached by shm, another one by
/// verbs where this node has an active RDMA port, then by an HPC fabric that libfabric knows, then
/// by tcp. kInvalid for a name that is no transport.
Result<Preference> prefer(bool same_node, const std::string& wanted);

/// The first preferred transport that the executor has an address of, or kUnsupported with what was
/// asked for and found.
Result<Endpoint::Address> choose(const Endpoint& endpoint, const Preference& preference);

/// A client's channel over whichever transport was chosen: a switch over closed alternatives. The
/// hot path of shm, where nanoseconds count, is compiled into its caller; those of networks are a
/// call away. Their arguments are copies, so that shm's stay in registers (measured: 25 ns of 105 a
/// call).
class AnyClientChannel {
  std::variant<shm::ClientChannel, verbs::ClientChannel, fabric::ClientChannel, tcp::ClientChannel>
      channel_;

  template <class Self, class F>
  static decltype(auto) visit(Self& self, F&& f) noexcept {
    if (auto* shm = std::get_if<shm::ClientChannel>(&self.channel_)) [[likely]] {
      return f(*shm);
    }
    if (auto* verbs = std::get_if<verbs::ClientChannel>(&self.channel_)) return f(*verbs);
    if (auto* fabric = std::get_if<fabric::ClientChannel>(&self.channel_)) return f(*fabric);
    return f(*std::get_if<tcp::ClientChannel>(&self.channel_));
  }

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
    if (auto* shm = std::get_if<shm::ClientChannel>(&channel_)) [[likely]] {
      return shm->submit(request, ticket);
    }
    const Request copy = request;
    Ticket issued = ticket;
    const Status status = submit_remote(copy, issued);
    ticket = issued;
    return status;
  }
  [[nodiscard, gnu::always_inline]] Status poll(Ticket ticket, ReplyView& reply) noexcept {
    if (auto* shm = std::get_if<shm::ClientChannel>(&channel_)) [[likely]] {
      return shm->poll(ticket, reply);
    }
    ReplyView copy = reply;
    const Status status = poll_remote(ticket, copy);
    reply = copy;
    return status;
  }
  [[nodiscard, gnu::always_inline]] Status wait(Ticket ticket, ReplyView& reply,
                                                base::Deadline deadline) noexcept {
    if (auto* shm = std::get_if<shm::ClientChannel>(&channel_)) [[likely]] {
      return shm->wait(ticket, reply, deadline);
    }
    ReplyView copy = reply;
    const Status status = wait_remote(ticket, copy, deadline);
    reply = copy;
    return status;
  }
  /// submit and wait in one, with no deadline but the call's own end.
  [[nodiscard, gnu::always_inline]] Status call(const Request& request, Ticket& ticket,
                                                ReplyView& reply) noexcept {
    if (auto* shm = std::get_if<shm::ClientChannel>(&channel_)) [[likely]] {
      return shm->call(request, ticket, reply);
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
  Kind kind = Kind::kShm;
  ConnectOptions options;
};

/// Connects to all of them, side by side where the transport has round trips to overlap. One result
/// for each target, in their order; all with the same arena.
std::vector<Result<AnyClientChannel>> connect(const std::vector<Target>& targets,
                                              const std::shared_ptr<Arena>& arena);

}  // namespace sublet::transport
