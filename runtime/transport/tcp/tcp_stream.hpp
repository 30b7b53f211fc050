#pragma once

// HOT-PATH BUDGET  Sending a message: one system call, whatever its size, plus a copy of what is
// small. Receiving: one system call for as many small messages as are there.

#include <base/fd.hpp>
#include <sublet/status.hpp>
#include <transport/arena.hpp>
#include <transport/tcp/tcp_wire.hpp>

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

namespace sublet::transport::tcp {

/// Owns one end of a connection. Destroying it ends the connection for good, also when a forked
/// process holds a copy of the descriptor.
class Stream {
 public:
  Stream() = default;
  explicit Stream(base::Fd socket) noexcept : socket_(std::move(socket)) {}
  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&& other) noexcept {
    reset();
    socket_ = std::move(other.socket_);
    return *this;
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { reset(); }

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  /// Ends the connection in both directions; whoever sleeps on it wakes. Any thread; the descriptor
  /// stays. Async-signal-safe.
  void shut_down() const noexcept { ::shutdown(socket_.get(), SHUT_RDWR); }
  void reset() noexcept {
    if (socket_.valid()) shut_down();
    socket_.reset();
  }

 private:
  base::Fd socket_;
};

template <class Header>
[[nodiscard]] constexpr std::size_t message_size(std::uint64_t payload) noexcept {
  return header_span<Header>(payload) + payload;
}

/// A payload of up to this many bytes is copied behind its header and sent from there: that is
/// cheaper than making the kernel gather two pieces (about 45 ns a call). Copying more is not.
inline constexpr std::size_t kPackedBytes = 1024;
static_assert(kPackedBytes <= kPaddedAbove);

/// send, sendmsg and recv as they are, without libc's points at which a thread can be cancelled: a
/// call is noexcept.
inline ssize_t send_now(int fd, const void* from, std::size_t size) noexcept {
  return ::syscall(SYS_sendto, fd, from, size, MSG_NOSIGNAL | MSG_DONTWAIT, nullptr, 0);
}
inline ssize_t send_now(int fd, const msghdr& message) noexcept {
  return ::syscall(SYS_sendmsg, fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}
inline ssize_t receive_now(int fd, void* to, std::size_t size) noexcept {
  return ::syscall(SYS_recvfrom, fd, to, size, MSG_DONTWAIT, nullptr, nullptr);
}

/// Sends header and payload, message_size() bytes, from byte `done` on. What was sent now; less
/// than the rest when the socket is full; -1 when nothing could be sent, errno says why
/// (would_block()).
template <class Header>
[[nodiscard]] inline ssize_t send_message(int fd, const Header& header, const void* payload,
                                          std::size_t size, std::size_t done = 0) noexcept {
  if (size <= kPackedBytes) {
    std::array<std::byte, sizeof(Header) + kPackedBytes> packed;
    std::memcpy(packed.data(), &header, sizeof(Header));
    if (size != 0) std::memcpy(packed.data() + sizeof(Header), payload, size);
    return send_now(fd, packed.data() + done, sizeof(Header) + size - done);
  }
  const std::size_t span = header_span<Header>(size);
  std::array<std::byte, kPaddedHeader> padded{};
  std::memcpy(padded.data(), &header, sizeof(Header));
  std::array<iovec, 2> parts{};
  std::size_t count = 0;
  if (done < span) parts[count++] = {padded.data() + done, span - done};
  const std::size_t sent = done < span ? 0 : done - span;
  auto* start = const_cast<std::byte*>(static_cast<const std::byte*>(payload));
  parts[count++] = {start + sent, size - sent};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = count;
  return send_now(fd, message);
}

/// What a non-blocking call reports when it could do nothing now.
[[nodiscard]] inline bool would_block(int error) noexcept {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/// Receives up to `size` bytes: kOk and how many came; kAgain when there are none; kLost when the
/// connection has ended and all that came before has been received.
[[nodiscard]] inline Status receive_some(int fd, void* to, std::size_t size,
                                         std::size_t& came) noexcept {
  const ssize_t n = receive_now(fd, to, size);
  if (n > 0) {
    came = static_cast<std::size_t>(n);
    return Status::kOk;
  }
  return n < 0 && would_block(errno) ? Status::kAgain : Status::kLost;
}

/// What has been received and not yet been used: whole small messages, or the start of a larger
/// one. User: the channel it belongs to.
class Inbox {
 public:
  /// Some dozens of small calls, or a page of payload with its header. More would be copied once
  /// more for large payloads, whose start lands here.
  static constexpr std::size_t kBytes = kPaddedAbove + Arena::kGranule;

  /// `header_size`: a message that starts the box has its payload on an arena's boundary.
  explicit Inbox(std::size_t header_size)
      : storage_(std::make_unique<Storage>()),
        start_(storage_->bytes.data() + Arena::kGranule - header_size) {}

  [[nodiscard]] const std::byte* data() const noexcept { return start_ + begin_; }
  [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
  /// What was consumed stays where it is until the next receive().
  void consume(std::size_t size) noexcept { begin_ += size; }

  /// As receive_some, behind what is there: less than a header, or than a failure with its text.
  [[nodiscard]] Status receive(int fd) noexcept {
    if (begin_ != 0) {
      if (begin_ != end_) std::memmove(start_, start_ + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    std::size_t came = 0;
    const Status status = receive_some(fd, start_ + end_, kBytes - end_, came);
    end_ += came;
    return status;
  }

 private:
  struct alignas(Arena::kGranule) Storage {
    std::array<std::byte, Arena::kGranule + kBytes> bytes;
  };
  std::unique_ptr<Storage> storage_;
  std::byte* start_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace sublet::transport::tcp
