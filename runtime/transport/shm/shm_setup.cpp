#include <base/asymmetric_fence.hpp>
#include <base/unix_socket.hpp>
#include <transport/shm/shm_greeting.hpp>
#include <transport/shm/shm_setup.hpp>
#include <wire/limits.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sublet::transport::shm {
namespace {

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}

void refuse(int socket, Status status, const std::string& text) {
  Welcome welcome{};
  welcome.magic = kMagic;
  welcome.status = static_cast<std::uint8_t>(status);
  std::strncpy(welcome.text.data(), text.c_str(), welcome.text.size() - 1);
  // The client may be gone already; then nobody needs the reason.
  (void)base::send_packet(socket, bytes_of(welcome));
}

}  // namespace

Result<ClientChannel> connect(const ConnectOptions& options, std::shared_ptr<Arena> arena) {
  if (!usable_slots(options.slots, wire::kMaxSlots)) {
    return fail(ErrorKind::kInvalid, "a channel has a power of two of slots up to " +
                                         std::to_string(wire::kMaxSlots) + "; asked for were " +
                                         std::to_string(options.slots));
  }
  const auto end = std::chrono::steady_clock::now() + options.timeout;
  auto socket = base::connect_abstract(options.address, options.timeout);
  if (!socket) {
    const bool invalid = socket.error().kind() == ErrorKind::kInvalid;
    return fail(invalid ? ErrorKind::kInvalid : ErrorKind::kDisconnected, socket.error().what(),
                socket.error().system_errno());
  }
  Hello hello{};
  hello.magic = kMagic;
  hello.version = kVersion;
  hello.token = options.token;
  hello.worker = options.worker;
  hello.slots = options.slots;
  hello.arena_size = arena->size();
  hello.asymmetric = base::register_asymmetric_fence() ? 1 : 0;
  const int arena_fd = arena->memory().fd();
  if (auto sent = base::send_packet(socket->get(), bytes_of(hello), {&arena_fd, 1}); !sent) {
    return tl::unexpected<Error>(sent.error());
  }
  Welcome welcome{};
  auto packet = base::receive_packet(
      socket->get(), std::as_writable_bytes(std::span<Welcome, 1>(&welcome, 1)), left_until(end));
  if (!packet) {
    return fail(ErrorKind::kDisconnected,
                "worker " + std::to_string(options.worker) +
                    " did not answer a request to connect: " + packet.error().what());
  }
  if (packet->size == 0) {
    return fail(ErrorKind::kDisconnected, "the executor ended while worker " +
                                              std::to_string(options.worker) +
                                              " was being connected");
  }
  welcome.text.back() = '\0';
  if (packet->size != sizeof(welcome) || welcome.magic != kMagic) {
    return fail(ErrorKind::kInvalid, "what listens at '" + options.address + "' is no executor");
  }
  if (static_cast<Status>(welcome.status) != Status::kOk) {
    return fail(ErrorKind::kDenied, "worker " + std::to_string(options.worker) +
                                        " refused the connection: " + welcome.text.data());
  }
  if (packet->fds.size() != 1) {
    return fail(ErrorKind::kInvalid, "the executor sent no memory for the channel");
  }
  auto memory = base::SharedMemory::map(std::move(packet->fds[0]), Layout{options.slots}.size());
  if (!memory) return tl::unexpected<Error>(memory.error());
  const FenceMode fences = welcome.asymmetric != 0 ? FenceMode::kAsymmetric : FenceMode::kSymmetric;
  return ClientChannel(std::move(*socket), std::make_shared<base::SharedMemory>(std::move(*memory)),
                       std::move(arena), Terms{options.slots, fences}, options.wait);
}

Listener::Listener(base::Fd socket, ListenOptions options)
    : socket_(std::move(socket)), options_(options) {
  ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
}

void Listener::append_poll_fds(std::vector<pollfd>& fds) const {
  const bool accepting =
      pending_.size() < kMaxPending && std::chrono::steady_clock::now() >= accept_after_;
  if (accepting) fds.push_back({socket_.get(), POLLIN, 0});
  for (const auto& pending : pending_) fds.push_back({pending.socket.get(), POLLIN, 0});
}

int Listener::poll_timeout_ms() const {
  using Time = std::chrono::steady_clock::time_point;
  Time first = accept_after_ == Time{} ? Time::max() : accept_after_;
  for (const auto& pending : pending_) first = std::min(first, pending.deadline);
  return first == Time::max() ? -1 : static_cast<int>(left_until(first).count());
}

void Listener::accept_all() {
  accept_after_ = {};
  while (pending_.size() < kMaxPending) {
    base::Fd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
      const bool none = errno == EAGAIN || errno == EWOULDBLOCK;
      const bool gone = errno == ECONNABORTED || errno == EINTR;
      if (gone) continue;
      // Out of descriptors or memory: the connection waits, and its socket stays ready meanwhile.
      if (!none) accept_after_ = std::chrono::steady_clock::now() + kAcceptPause;
      return;
    }
    pending_.push_back({std::move(socket), std::chrono::steady_clock::now() + kHelloTimeout});
  }
}

void Listener::service(const MayTake& may_take, const std::function<void(Accepted)>& accepted) {
  accept_all();
  const auto now = std::chrono::steady_clock::now();
  std::erase_if(pending_, [&](PendingConnection& pending) {
    if (greet(pending, may_take, accepted)) return true;
    if (now < pending.deadline) return false;
    refuse(pending.socket.get(), Status::kDenied, "no greeting came in time");
    return true;
  });
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

bool Listener::greet(PendingConnection& pending, const MayTake& may_take,
                     const std::function<void(Accepted)>& accepted) {
  Hello hello{};
  const int socket = pending.socket.get();
  auto packet =
      base::receive_packet(socket, std::as_writable_bytes(std::span<Hello, 1>(&hello, 1)));
  if (!packet && packet.error().kind() == ErrorKind::kOverloaded) return false;
  if (!packet || packet->size != sizeof(hello) || hello.magic != kMagic ||
      packet->fds.size() != 1) {
    refuse(socket, Status::kInvalid, "the greeting is malformed");
    return true;
  }
  const Wish wish{hello.version, hello.token, hello.worker, hello.slots, hello.arena_size};
  if (const auto refusal = why_refused(wish, kVersion, options_, may_take)) {
    refuse(socket, refusal->status, refusal->text);
    return true;
  }
  auto arena = map_arena(std::move(packet->fds[0]), hello.arena_size);
  if (!arena) {
    refuse(socket, Status::kInvalid, arena.error().what());
    return true;
  }
  auto memory = base::SharedMemory::create("sublet-channel", Layout{hello.slots}.size(),
                                           base::SharedMemory::Pages::kSmall);
  if (!memory) {
    refuse(socket, Status::kInvalid, memory.error().what());
    return true;
  }
  const bool asymmetric =
      hello.asymmetric == 1 && !options_.mostly_warm && base::register_asymmetric_fence();
  const Terms terms{hello.slots, asymmetric ? FenceMode::kAsymmetric : FenceMode::kSymmetric};
  Welcome welcome{};
  welcome.magic = kMagic;
  welcome.status = static_cast<std::uint8_t>(Status::kOk);
  welcome.asymmetric = asymmetric ? 1 : 0;
  const int memory_fd = memory->fd();
  if (!base::send_packet(socket, bytes_of(welcome), {&memory_fd, 1})) return true;
  accepted(Accepted{
      hello.worker,
      std::make_unique<ServerChannel>(std::make_shared<base::SharedMemory>(std::move(*memory)),
                                      std::move(*arena), terms),
      std::move(pending.socket)});
  return true;
}

}  // namespace sublet::transport::shm
