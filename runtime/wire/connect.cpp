#include <base/printable_text.hpp>
#include <base/private_path.hpp>
#include <base/unix_socket.hpp>
#include <wire/connect.hpp>
#include <wire/handshake.hpp>
#include <wire/limits.hpp>

#include <capnp/message.h>
#include <kj/debug.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace sublet::wire {
namespace {

constexpr kj::Duration kAgain = 5 * kj::MILLISECONDS;

/// What connect(2) says of a full queue. KJ keeps no number of it.
bool is_queue_full(const kj::Exception& exception) {
  const auto text = exception.getDescription();
  return std::string_view(text.begin(), text.size()).find(std::strerror(EAGAIN)) !=
         std::string_view::npos;
}

using Stream = kj::Own<kj::AsyncIoStream>;

kj::Promise<Stream> reach(kj::Network& network, kj::Timer& timer, const Address& address) {
  return network.parseAddress(address.to_kj())
      .then([](kj::Own<kj::NetworkAddress> target) {
        auto stream = target->connect();
        return stream.attach(kj::mv(target));
      })
      .catch_([&network, &timer, address](kj::Exception&& exception) -> kj::Promise<Stream> {
        if (address.kind != Address::Kind::kUnix || !is_queue_full(exception)) {
          return kj::mv(exception);
        }
        return timer.afterDelay(kAgain).then(
            [&network, &timer, address] { return reach(network, timer, address); });
      });
}

Result<void> check_socket(const Address& address, const Trust& trust) {
  if (address.is_abstract()) return {};
  return base::check_owned_path(address.path, "the socket " + address.path,
                                [&trust](uid_t uid) { return trust.believes_manager_of(uid); });
}

/// Who listens at a Unix socket.
Result<void> check_listener(const kj::AsyncIoStream& stream, const Address& address,
                            const Trust& trust) {
  int socket = -1;
  KJ_IF_MAYBE (fd, stream.getFd()) socket = *fd;
  const auto who = base::peer_credentials(socket);
  if (who && trust.believes_manager_of(who->uid)) return {};
  return fail(ErrorKind::kDenied,
              "what listens at " + address.to_string() + " runs as " +
                  (who ? "uid " + std::to_string(who->uid) : "somebody unknown") +
                  ", which is neither root nor this user; if that is the managers' user, set "
                  "SUBLET_MANAGER_USER");
}

}  // namespace

kj::Promise<Result<Stream>> connect(kj::Network& network, kj::Timer& timer, const Address& address,
                                    const std::shared_ptr<const Trust>& trust) {
  const bool local = address.kind == Address::Kind::kUnix;
  if (auto checked = local ? check_socket(address, *trust) : trust->can_prove(); !checked) {
    return Result<Stream>(fail(checked.error().kind(), "connecting to " + address.to_string() +
                                                           ": " + checked.error().what()));
  }
  return reach(network, timer, address)
      .then([address, local, trust](Stream stream) -> kj::Promise<Result<Stream>> {
        if (local) {
          auto known = check_listener(*stream, address, *trust);
          if (!known) return Result<Stream>(tl::unexpected<Error>(std::move(known.error())));
          return Result<Stream>(kj::mv(stream));
        }
        return secure_as_client(kj::mv(stream), trust, address.to_string())
            .then([](Result<SecuredStream>&& secured) -> Result<Stream> {
              if (!secured) return tl::unexpected<Error>(std::move(secured.error()));
              return kj::mv(secured->stream);
            });
      })
      .catch_([address](kj::Exception&& exception) -> Result<Stream> {
        const auto text = exception.getDescription();
        return fail(ErrorKind::kDisconnected, "nothing answers at " + address.to_string() + ": " +
                                                  base::printable({text.begin(), text.size()}));
      });
}

capnp::ReaderOptions message_limits() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = kMaxMessageBytes / sizeof(capnp::word);
  return options;
}

capnp::Capability::Client bootstrap(capnp::RpcSystem<capnp::rpc::twoparty::VatId>& rpc) {
  capnp::MallocMessageBuilder message(4);
  auto server = message.getRoot<capnp::rpc::twoparty::VatId>();
  server.setSide(capnp::rpc::twoparty::Side::SERVER);
  return rpc.bootstrap(server);
}

}  // namespace sublet::wire
