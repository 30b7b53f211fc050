#include <transport/any_server.hpp>

#include <type_traits>
#include <utility>

namespace sublet::transport {
namespace {

/// A transport's listener.
template <Kind kKind, class Listener, class Channel>
class ListenerOf final : public AnyListener {
  static_assert(ChannelListener<Listener, Channel>);

 public:
  explicit ListenerOf(std::unique_ptr<Listener> listener) : listener_(std::move(listener)) {}

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

template <Kind kKind, class Channel, class Listener>
Result<std::unique_ptr<AnyListener>> erase(Result<std::unique_ptr<Listener>> listener) {
  if (!listener) return tl::unexpected<Error>(std::move(listener.error()));
  return std::make_unique<ListenerOf<kKind, Listener, Channel>>(std::move(*listener));
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

Result<std::unique_ptr<AnyListener>> listen_shm(base::Fd socket, const ListenOptions& options) {
  return erase<Kind::kShm, shm::ServerChannel>(shm::Listener::take(std::move(socket), options));
}

Result<std::unique_ptr<AnyListener>> listen(Kind kind, const ListenOptions& options,
                                            const std::string& host) {
  switch (kind) {
    case Kind::kShm:
      return erase<Kind::kShm, shm::ServerChannel>(shm::Listener::open(options, host));
    case Kind::kTcp:
      return erase<Kind::kTcp, tcp::ServerChannel>(tcp::Listener::open(options, host));
    case Kind::kVerbs:
      return erase<Kind::kVerbs, verbs::ServerChannel>(verbs::Listener::open(options, host));
    case Kind::kFabric:
      return erase<Kind::kFabric, fabric::ServerChannel>(fabric::Listener::open(options, host));
  }
  return fail(ErrorKind::kUnsupported,
              std::string("this build has no listener for transport ") + to_string(kind));
}

}  // namespace sublet::transport
