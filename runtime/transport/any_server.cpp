#include <transport/any_server.hpp>

#include <poll.h>

#include <algorithm>
#include <utility>

namespace sublet::transport {
namespace {

class ShmListener final : public AnyListener {
 public:
  ShmListener(base::Fd socket, std::string name, const ListenOptions& options)
      : name_(std::move(name)), listener_(std::move(socket), options) {}

  [[nodiscard]] Kind kind() const noexcept override { return Kind::kShm; }
  [[nodiscard]] std::string address() const override { return name_; }

  void append_poll_fds(std::vector<pollfd>& fds) override {
    listener_.append_poll_fds(fds);
    for (const Connection& c : connections_) fds.push_back({c.socket.get(), POLLIN, 0});
  }
  [[nodiscard]] int poll_timeout_ms() const override { return listener_.poll_timeout_ms(); }

  void service(const MayTake& may_take, const Accepted& accepted, const Ended& ended) override {
    // Those who have gone before new ones: a client that connects again finds its worker free.
    std::erase_if(connections_, [&](const Connection& connection) {
      // A client sends nothing once it is connected: whatever is there is its end, or no client of
      // ours.
      pollfd entry{connection.socket.get(), POLLIN, 0};
      if (::poll(&entry, 1, 0) <= 0) return false;
      ended(connection.worker);
      return true;
    });
    listener_.service(may_take, [&](shm::Accepted channel) {
      connections_.push_back({channel.worker, std::move(channel.connection)});
      accepted(channel.worker, std::shared_ptr<shm::ServerChannel>(std::move(channel.channel)));
    });
  }

 private:
  struct Connection {
    std::uint32_t worker;
    base::Fd socket;
  };
  std::string name_;
  shm::Listener listener_;
  std::vector<Connection> connections_;
};

/// A network transport's listener.
template <Kind kKind, class Listener, class Channel>
class NetworkListenerOf final : public AnyListener {
  static_assert(NetworkListener<Listener, Channel>);

 public:
  explicit NetworkListenerOf(std::unique_ptr<Listener> listener) : listener_(std::move(listener)) {}

  [[nodiscard]] Kind kind() const noexcept override { return kKind; }
  [[nodiscard]] std::string address() const override { return listener_->address(); }
  void append_poll_fds(std::vector<pollfd>& fds) override { listener_->append_poll_fds(fds); }
  [[nodiscard]] int poll_timeout_ms() const override { return listener_->poll_timeout_ms(); }
  void service(const MayTake& may_take, const Accepted& accepted, const Ended& ended) override {
    listener_->service(
        may_take,
        [&](std::uint32_t worker, std::unique_ptr<Channel> channel) {
          accepted(worker, std::shared_ptr<Channel>(std::move(channel)));
        },
        ended);
  }

 private:
  std::unique_ptr<Listener> listener_;
};

template <Kind kKind, class Listener, class Channel>
Result<std::unique_ptr<AnyListener>> open_listener(const ListenOptions& options,
                                                   const std::string& host) {
  auto listener = Listener::open(options, host);
  if (!listener) return tl::unexpected<Error>(std::move(listener.error()));
  return std::make_unique<NetworkListenerOf<kKind, Listener, Channel>>(std::move(*listener));
}

}  // namespace

void interrupt(const AnyServerChannel& channel) noexcept {
  std::visit(
      [](const auto& held) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(held)>, std::monostate>) {
          held->interrupt();
        }
      },
      channel);
}

std::unique_ptr<AnyListener> listen_shm(base::Fd socket, std::string name,
                                        const ListenOptions& options) {
  return std::make_unique<ShmListener>(std::move(socket), std::move(name), options);
}

Result<std::unique_ptr<AnyListener>> listen(Kind kind, const ListenOptions& options,
                                            const std::string& host) {
  switch (kind) {
    case Kind::kTcp:
      return open_listener<Kind::kTcp, tcp::Listener, tcp::ServerChannel>(options, host);
    case Kind::kVerbs:
      return open_listener<Kind::kVerbs, verbs::Listener, verbs::ServerChannel>(options, host);
    case Kind::kFabric:
      return open_listener<Kind::kFabric, fabric::Listener, fabric::ServerChannel>(options, host);
    case Kind::kShm:
      break;
  }
  return fail(ErrorKind::kUnsupported,
              std::string("this build has no listener for transport ") + to_string(kind));
}

}  // namespace sublet::transport
