// The executor's side of set-up.

#include <base/asymmetric_fence.hpp>
#include <base/unix_socket.hpp>
#include <transport/shm/shm_setup.hpp>

#include <sys/stat.h>

#include <cstring>
#include <utility>

namespace sublet::transport::shm {
namespace {

/// Connections that wait for the executor's main thread, if the system allows so many.
constexpr int kBacklog = 4096;

}  // namespace

Result<std::unique_ptr<Listener>> Listener::open(const ListenOptions& options,
                                                 const std::string& name) {
  auto socket =
      name.empty() ? base::listen_abstract(kBacklog) : base::listen_abstract(name, kBacklog);
  if (!socket) return tl::unexpected<Error>(socket.error());
  return take(std::move(*socket), options);
}

Result<std::unique_ptr<Listener>> Listener::take(base::Fd socket, const ListenOptions& options) {
  auto name = base::abstract_name(socket.get());
  if (!name) return tl::unexpected<Error>(name.error());
  const Lobby::HelloForm form{kMagic, kVersion, sizeof(Hello), true, 1};
  return std::unique_ptr<Listener>(
      new Listener(std::move(socket), std::move(*name), form, options));
}

void Listener::service(const MayTake& may_take, const Accepted& accepted, const Ended& ended) {
  serve_lobby(may_take, ended,
              [&](Lobby::Guest guest) { admit(std::move(guest), accepted, ended); });
}

Result<std::shared_ptr<base::SharedMemory>> Listener::map_arena(base::Fd fd, std::uint64_t size) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) {
    return fail(ErrorKind::kInvalid, "the arena's descriptor is unusable");
  }
  std::erase_if(arenas_, [](const KnownArena& arena) { return arena.memory.expired(); });
  for (const KnownArena& arena : arenas_) {
    if (auto memory = arena.memory.lock(); memory && arena.device == info.st_dev &&
                                           arena.inode == info.st_ino && memory->size() == size) {
      return memory;
    }
  }
  auto mapped = base::SharedMemory::map(std::move(fd), size);
  if (!mapped) return tl::unexpected<Error>(mapped.error());
  auto memory = std::make_shared<base::SharedMemory>(std::move(*mapped));
  arenas_.push_back({info.st_dev, info.st_ino, memory});
  return memory;
}

void Listener::admit(Lobby::Guest guest, const Accepted& accepted, const Ended& ended) {
  Hello hello;
  std::memcpy(&hello, guest.hello.data(), sizeof(hello));
  auto arena = map_arena(std::move(guest.descriptors[0]), hello.arena_size);
  if (!arena) return refuse(guest.socket.get(), Status::kInvalid, arena.error().what());
  auto memory = base::SharedMemory::create("sublet-channel", Layout{hello.slots}.size(),
                                           base::SharedMemory::Pages::kSmall);
  if (!memory) return refuse(guest.socket.get(), Status::kInvalid, memory.error().what());
  const bool asymmetric =
      hello.asymmetric == 1 && !options().mostly_warm && base::register_asymmetric_fence();
  const Terms terms{hello.slots, asymmetric ? FenceMode::kAsymmetric : FenceMode::kSymmetric};
  Welcome welcome{};
  static_cast<Answer&>(welcome) = welcome_to(options(), hello);
  welcome.asymmetric = asymmetric ? 1 : 0;
  const int memory_fd = memory->fd();
  if (!base::send_packet(guest.socket.get(), bytes_of(welcome), {&memory_fd, 1})) return;
  const auto connection = std::make_shared<const base::Fd>(std::move(guest.socket));
  connections().add(hello.worker, connection->get(), connection, ended);
  accepted(hello.worker,
           std::make_unique<ServerChannel>(std::make_shared<base::SharedMemory>(std::move(*memory)),
                                           std::move(*arena), terms));
}

}  // namespace sublet::transport::shm
