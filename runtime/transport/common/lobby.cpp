#include <base/unix_socket.hpp>
#include <transport/common/lobby.hpp>

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sublet::transport {
namespace {

/// True for errors of accept(2) that belong to the connection, which has ended already, and not to
/// the listening socket.
bool is_of_the_connection(int error) noexcept {
  switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EPERM:
    case EPROTO:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
      return true;
    default:
      return false;
  }
}

}  // namespace

Lobby::Lobby(base::Fd socket, const HelloForm& form, const ListenOptions& options,
             std::chrono::milliseconds hello_timeout)
    : socket_(std::move(socket)), form_(form), doorkeeper_(options), hello_timeout_(hello_timeout) {
  ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
}

void Lobby::append_poll_fds(std::vector<pollfd>& fds) const {
  if (std::chrono::steady_clock::now() >= accept_after_) fds.push_back({socket_.get(), POLLIN, 0});
  for (const Pending& pending : pending_) fds.push_back({pending.socket.get(), POLLIN, 0});
}

TimePoint Lobby::next_deadline() const {
  TimePoint first = accept_after_ == TimePoint{} ? TimePoint::max() : accept_after_;
  // They came one after the other, and have the same time.
  if (!pending_.empty()) first = std::min(first, pending_.front().deadline);
  return first;
}

void Lobby::service(const MayTake& may_take, const Admit& admit) {
  const Turn turn{std::chrono::steady_clock::now(), may_take, admit};
  accept_some(turn);
  std::erase_if(pending_, [&](Pending& pending) {
    if (serve(pending, turn)) return true;
    if (turn.now < pending.deadline) return false;
    refuse(pending.socket.get(), Status::kDenied, "no greeting came in time");
    return true;
  });
}

void Lobby::accept_some(const Turn& turn) {
  accept_after_ = {};
  for (std::size_t i = 0; i < kAcceptsPerTurn; ++i) {
    base::Fd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.valid()) {
      if (pending_.size() == kMaxPending) make_room(turn);
      pending_.push_back({std::move(socket),
                          turn.now + hello_timeout_,
                          std::vector<std::byte>(form_.size),
                          0,
                          {}});
      continue;
    }
    if (is_of_the_connection(errno)) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    // Out of descriptors or memory.
    if (pending_.empty()) {
      // The connection waits, and its socket stays ready meanwhile.
      accept_after_ = turn.now + kAcceptPause;
      return;
    }
    make_room(turn);
  }
}

void Lobby::make_room(const Turn& turn) {
  Pending& oldest = pending_.front();
  if (!serve(oldest, turn)) {
    refuse(oldest.socket.get(), Status::kAgain,
           "too many connections wait here without a greeting; connect again");
  }
  pending_.pop_front();
}

bool Lobby::serve(Pending& pending, const Turn& turn) {
  switch (hear(pending)) {
    case Heard::kNothingYet:
      return false;
    case Heard::kHello:
      judge(pending, turn);
      return true;
    case Heard::kNonsense:
      refuse(pending.socket.get(), Status::kInvalid, "the greeting is malformed");
      return true;
    case Heard::kEnd:
      break;
  }
  return true;
}

Lobby::Heard Lobby::hear(Pending& pending) const {
  const int socket = pending.socket.get();
  if (form_.is_packet) {
    auto packet = base::receive_packet(socket, pending.hello);
    if (!packet && packet.error().kind() == ErrorKind::kOverloaded) return Heard::kNothingYet;
    const bool whole = packet && packet->size == form_.size;
    if (!whole || packet->fds.size() != form_.descriptors) return Heard::kNonsense;
    pending.descriptors = std::move(packet->fds);
    return Heard::kHello;
  }
  // Not a byte more than the Hello: what follows is for the worker.
  while (pending.received < form_.size) {
    const Received got = receive_some(socket, std::span(pending.hello).subspan(pending.received));
    if (got.ended) return Heard::kEnd;
    if (got.size == 0) return Heard::kNothingYet;
    pending.received += got.size;
  }
  return Heard::kHello;
}

void Lobby::judge(Pending& pending, const Turn& turn) {
  Guest guest;
  std::memcpy(&guest.greeting, pending.hello.data(), sizeof(guest.greeting));
  if (guest.greeting.magic != form_.magic) {
    refuse(pending.socket.get(), Status::kInvalid, "the greeting is malformed");
    return;
  }
  if (const auto refusal = doorkeeper_.why_refused(guest.greeting, form_.version, turn.may_take)) {
    refuse(pending.socket.get(), refusal->status, refusal->text);
    return;
  }
  guest.socket = std::move(pending.socket);
  guest.hello = pending.hello;
  guest.descriptors = std::move(pending.descriptors);
  turn.admit(std::move(guest));
}

}  // namespace sublet::transport
