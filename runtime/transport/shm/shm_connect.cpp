// The client's side of set-up.

#include <base/asymmetric_fence.hpp>
#include <base/unix_socket.hpp>
#include <transport/shm/shm_transport.hpp>

#include <string>
#include <utility>

namespace sublet::transport::shm {
namespace {

/// With its greeting a client hands over its arena: first it looks who has made the socket.
Result<void> believe(int socket, const ConnectOptions& options) {
  if (!options.believes) return {};
  const auto peer = base::peer_credentials(socket);
  if (peer && options.believes(peer->uid)) return {};
  return fail(ErrorKind::kDenied,
              "the executor's socket '" + options.address + "' is " +
                  (peer ? "that of uid " + std::to_string(peer->uid) : "somebody's") +
                  " now, who is neither root, nor this user, nor SUBLET_MANAGER_USER");
}

/// The executor's answer, with the descriptors beside it.
Result<base::Packet> introduce(int socket, const ConnectOptions& options, const Arena& arena,
                               Welcome& welcome, TimePoint end) {
  Hello hello{};
  static_cast<Greeting&>(hello) = greeting_for(kMagic, kVersion, options, arena.size());
  hello.asymmetric = base::register_asymmetric_fence() ? 1 : 0;
  const int arena_fd = arena.memory().fd();
  if (auto sent = base::send_packet(socket, bytes_of(hello), {&arena_fd, 1}); !sent) {
    return tl::unexpected<Error>(sent.error());
  }
  auto packet = base::receive_packet(socket, writable_bytes_of(welcome), left_until(end));
  if (!packet || packet->size == 0) {
    return tl::unexpected<Error>(not_answered(options, left_until(end).count() == 0));
  }
  if (packet->size < sizeof(Answer)) welcome.magic = 0;
  if (auto error = error_in(options, hello, welcome))
    return tl::unexpected<Error>(std::move(*error));
  if (packet->size != sizeof(welcome) || packet->fds.size() != 1) {
    return fail(ErrorKind::kInvalid, "the executor sent no memory for the channel");
  }
  return packet;
}

}  // namespace

Result<ClientChannel> Transport::connect(const ConnectOptions& options,
                                         const std::shared_ptr<Arena>& arena) {
  if (auto good = check_slots(options.slots); !good) return tl::unexpected<Error>(good.error());
  const TimePoint end = std::chrono::steady_clock::now() + options.timeout;
  auto socket = base::connect_abstract(options.address, options.timeout);
  if (!socket) {
    const bool invalid = socket.error().kind() == ErrorKind::kInvalid;
    return fail(invalid ? ErrorKind::kInvalid : ErrorKind::kDisconnected, socket.error().what(),
                socket.error().system_errno());
  }
  if (auto believed = believe(socket->get(), options); !believed) {
    return tl::unexpected<Error>(believed.error());
  }
  Welcome welcome{};
  auto packet = introduce(socket->get(), options, *arena, welcome, end);
  if (!packet) return tl::unexpected<Error>(packet.error());
  auto memory = base::SharedMemory::map(std::move(packet->fds[0]), Layout{options.slots}.size());
  if (!memory) return tl::unexpected<Error>(memory.error());
  const FenceMode fences = welcome.asymmetric != 0 ? FenceMode::kAsymmetric : FenceMode::kSymmetric;
  return ClientChannel(std::move(*socket), std::make_shared<base::SharedMemory>(std::move(*memory)),
                       arena, Terms{options.slots, fences}, options.wait, options.peer_gone);
}

}  // namespace sublet::transport::shm
