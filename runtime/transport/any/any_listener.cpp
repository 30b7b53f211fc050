#include <transport/any/any_listener.hpp>

#include <type_traits>
#include <utility>
#include <variant>

namespace sublet::transport {
namespace {

template <class Row>
class ListenerOf final : public AnyListener {
 public:
  ListenerOf(Kind kind, std::unique_ptr<typename Row::Listener> listener)
      : kind_(kind), listener_(std::move(listener)) {}

  [[nodiscard]] Kind kind() const noexcept override { return kind_; }
  [[nodiscard]] std::string address() const override { return listener_->address(); }
  void append_poll_fds(std::vector<pollfd>& fds) override { listener_->append_poll_fds(fds); }
  [[nodiscard]] int poll_timeout_ms() const override { return listener_->poll_timeout_ms(); }
  void service(const MayTake& may_take, const Accepted& accepted, const Ended& ended) override {
    using Server = typename Row::Server;
    listener_->service(
        may_take,
        [&](std::uint32_t worker, std::unique_ptr<Server> channel) {
          accepted(worker, std::shared_ptr<Server>(std::move(channel)));
        },
        ended);
  }

 private:
  Kind kind_;
  std::unique_ptr<typename Row::Listener> listener_;
};

template <class Row>
Result<std::unique_ptr<AnyListener>> erase(
    Kind kind, Result<std::unique_ptr<typename Row::Listener>> listener) {
  if (!listener) return tl::unexpected<Error>(std::move(listener.error()));
  return std::make_unique<ListenerOf<Row>>(kind, std::move(*listener));
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

void retire(const AnyServerChannel& channel) noexcept {
  std::visit(
      [](const auto& held) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(held)>, std::monostate>) {
          held->retire();
        }
      },
      channel);
}

Result<std::unique_ptr<AnyListener>> listen_on_this_node(base::Fd socket,
                                                         const ListenOptions& options) {
  Result<std::unique_ptr<AnyListener>> made;
  Transports::for_each([&]<class Row>(Kind kind) {
    if constexpr (Row::kReach == Reach::kSameNode) {
      made = erase<Row>(kind, Row::Listener::take(std::move(socket), options));
    }
  });
  return made;
}

Result<std::unique_ptr<AnyListener>> listen(Kind kind, const ListenOptions& options,
                                            const ListenPlaces& places) {
  return Transports::with(kind, [&]<class Row>() {
    return erase<Row>(kind, Row::Listener::open(options, Row::listen_at(places)));
  });
}

}  // namespace sublet::transport
