// The executor's side of set-up.

#include <transport/tcp/tcp_setup.hpp>

#include <utility>

namespace sublet::transport::tcp {

Result<std::unique_ptr<Listener>> Listener::open(const ListenOptions& options,
                                                 const std::string& host) {
  auto socket = listen_on(host);
  if (!socket) return tl::unexpected<Error>(socket.error());
  auto address = address_of(socket->get());
  if (!address) return tl::unexpected<Error>(address.error());
  const Lobby::HelloForm form{kMagic, kVersion, sizeof(Hello)};
  return std::unique_ptr<Listener>(
      new Listener(std::move(*socket), address->to_string(), form, options, options.peer_timeout));
}

void Listener::service(const MayTake& may_take, const Accepted& accepted, const Ended& ended) {
  serve_lobby(may_take, ended,
              [&](Lobby::Guest guest) { admit(std::move(guest), accepted, ended); });
}

void Listener::admit(Lobby::Guest guest, const Accepted& accepted, const Ended& ended) {
  const int socket = guest.socket.get();
  if (auto prepared = prepare_connection(socket, options().peer_timeout); !prepared) {
    return refuse(socket, Status::kInvalid, prepared.error().what());
  }
  // The socket is fresh: so little always fits.
  if (!send_all(socket, bytes_of(welcome_to(options(), guest.greeting)), {})) return;
  auto stream = std::make_shared<const Stream>(std::move(guest.socket));
  connections().add(guest.greeting.worker, socket, stream, ended);
  accepted(guest.greeting.worker, std::make_unique<ServerChannel>(
                                      std::move(stream), ServerTerms{guest.greeting.arena_size}));
}

}  // namespace sublet::transport::tcp
