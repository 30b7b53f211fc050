// The client's side of set-up.

#include <transport/common/introduction.hpp>
#include <transport/tcp/tcp_transport.hpp>

#include <utility>

namespace sublet::transport::tcp {

Result<ClientChannel> Transport::connect(const ConnectOptions& options,
                                         const std::shared_ptr<Arena>& arena) {
  if (auto good = check_slots(options.slots); !good) return tl::unexpected<Error>(good.error());
  const TimePoint end = std::chrono::steady_clock::now() + options.timeout;
  const Hello hello = greeting_for(kMagic, kVersion, options, arena->size());
  Answer welcome{};
  auto socket = introduce(options, bytes_of(hello), writable_bytes_of(welcome), end);
  if (!socket) return tl::unexpected<Error>(socket.error());
  end_abruptly(socket->get());
  ClientTerms terms;
  terms.slots = options.slots;
  terms.wait = options.wait;
  terms.peer_gone = options.peer_gone;
  terms.peer_timeout = options.peer_timeout;
  return ClientChannel(Stream(std::move(*socket)), arena, std::move(terms));
}

}  // namespace sublet::transport::tcp
