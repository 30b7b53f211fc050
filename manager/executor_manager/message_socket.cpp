#include <base/log.hpp>
#include <executor_manager/message_socket.hpp>

#include <fcntl.h>

#include <utility>

namespace sublet::manager {
namespace {

/// Messages taken in one turn of the loop, so that one busy peer cannot keep the others waiting.
constexpr int kMaxPerTurn = 64;

}  // namespace

MessageSocket::MessageSocket(kj::UnixEventPort& port, base::Fd socket)
    : socket_(std::move(socket)),
      observer_(port, socket_.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ) {
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

}  // namespace sublet::manager
