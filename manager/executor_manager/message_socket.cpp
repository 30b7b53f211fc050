#include <base/log.hpp>
#include <base/system_text.hpp>
#include <executor_manager/message_socket.hpp>

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace sublet::manager {
namespace {

/// Messages taken in one turn of the loop, so that one busy peer cannot keep the others waiting.
constexpr int kMaxPerTurn = 64;

/// Packets that wait for a peer to read: more than one burst of leases can order on a node.
constexpr std::size_t kMaxUnsent = 4096;

}  // namespace

MessageSocket::MessageSocket(kj::UnixEventPort& port, base::Fd socket)
    : socket_(std::move(socket)),
      observer_(port, socket_.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ_WRITE) {
  ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
}

kj::Promise<void> MessageSocket::serve(std::function<void(wire::ReceivedMessage)> on_message) {
  for (int i = 0; i < kMaxPerTurn; ++i) {
    auto message = wire::receive_message(socket_.get());
    if (message) {
      on_message(std::move(*message));
      continue;
    }
    if (message.error().kind() == ErrorKind::kOverloaded) {  // nothing there now
      return observer_.whenBecomesReadable().then(
          [this, on_message = std::move(on_message)]() mutable {
            return serve(std::move(on_message));
          });
    }
    if (message.error().kind() == ErrorKind::kInvalid) {
      base::log().error("closing a socket: {}", message.error().what());
    }
    return kj::READY_NOW;
  }
  return kj::evalLater([this, on_message = std::move(on_message)]() mutable {
    return serve(std::move(on_message));
  });
}

Result<void> MessageSocket::send_packet(std::span<const std::byte> bytes,
                                        std::span<const int> fds) {
  if (unsent_.empty()) {
    auto sent = base::send_packet(socket_.get(), bytes, fds);
    if (sent || sent.error().kind() != ErrorKind::kOverloaded) return sent;
  }
  return keep(bytes, fds);
}

Result<void> MessageSocket::keep(std::span<const std::byte> bytes, std::span<const int> fds) {
  if (unsent_.size() >= kMaxUnsent) {
    return fail(ErrorKind::kOverloaded,
                "the peer has left " + std::to_string(unsent_.size()) + " packets unread");
  }
  Packet packet{{bytes.begin(), bytes.end()}, {}};
  for (const int fd : fds) {
    packet.fds.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!packet.fds.back().valid()) {
      return fail(ErrorKind::kInternal,
                  "keeping a descriptor until the peer reads: " + base::system_text(errno), errno);
    }
  }
  unsent_.push_back(std::move(packet));
  if (unsent_.size() == 1) {
    sending_ = send_unsent().eagerlyEvaluate([this](kj::Exception&& exception) {
      base::log().error("sending a packet: {}", exception.getDescription().cStr());
      unsent_.clear();
    });
  }
  return {};
}

kj::Promise<void> MessageSocket::send_unsent() {
  return observer_.whenBecomesWritable().then([this]() -> kj::Promise<void> {
    while (!unsent_.empty()) {
      const Packet& packet = unsent_.front();
      std::vector<int> fds;
      for (const base::Fd& fd : packet.fds) fds.push_back(fd.get());
      const auto sent = base::send_packet(socket_.get(), packet.bytes, fds);
      if (!sent && sent.error().kind() == ErrorKind::kOverloaded) return send_unsent();
      if (!sent) {  // it has gone, as serve() sees too
        unsent_.clear();
        return kj::READY_NOW;
      }
      unsent_.pop_front();
    }
    return kj::READY_NOW;
  });
}

void MessageSocket::shut() noexcept {
  ::shutdown(socket_.get(), SHUT_RDWR);
}

}  // namespace sublet::manager
