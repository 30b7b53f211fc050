#include <transport/common/introduction.hpp>

#include <cstring>

namespace sublet::transport {
namespace {

Result<base::Fd> introduce_once(const ConnectOptions& options, const HostPort& address,
                                std::span<const std::byte> hello, std::span<std::byte> welcome,
                                TimePoint end) {
  auto socket = connect_to(address, end);
  if (!socket) return socket;
  if (auto done = prepare_connection(socket->get(), options.peer_timeout); !done) {
    return tl::unexpected<Error>(done.error());
  }
  Greeting greeting{};
  std::memcpy(&greeting, hello.data(), sizeof(greeting));
  Answer answer{};
  std::size_t received = 0;
  if (send_all(socket->get(), hello, end)) {
    received = receive_all(socket->get(), welcome.first(sizeof(answer)), end);
  }
  std::memcpy(&answer, welcome.data(), received);
  // Another program may say less than an Answer and then wait for us.
  const bool speaks_otherwise = received >= sizeof(answer.magic) && answer.magic != kAnswerMagic;
  if (received == sizeof(answer) || speaks_otherwise) {
    if (auto error = error_in(options, greeting, answer))
      return tl::unexpected<Error>(std::move(*error));
    const auto rest = welcome.subspan(received);
    if (receive_all(socket->get(), rest, end) == rest.size()) return socket;
  }
  return tl::unexpected<Error>(not_answered(options, left_until(end).count() == 0));
}

}  // namespace

Result<base::Fd> introduce(const ConnectOptions& options, std::span<const std::byte> hello,
                           std::span<std::byte> welcome, TimePoint end) {
  const auto address = executor_at(options.address);
  if (!address) return tl::unexpected<Error>(address.error());
  for (;;) {
    auto socket = introduce_once(options, *address, hello, welcome, end);
    const bool again = !socket && socket.error().kind() == ErrorKind::kOverloaded;
    if (!again || left_until(end).count() == 0) return socket;
  }
}

}  // namespace sublet::transport
