#pragma once

// HOT-PATH BUDGET  A small call: one receive that finds the request, one send of the reply; each
// poll before that is one receive that finds nothing. Requests that came together are received
// together. Small inputs are used where they were received, large ones are received where they are
// used. No allocation (but to grow a buffer for the first payload of its size), lock, log or
// virtual call.

#include <base/shared_memory.hpp>
#include <transport/arena.hpp>
#include <transport/common/inline_copy.hpp>
#include <transport/common/request_check.hpp>
#include <transport/contract.hpp>
#include <transport/tcp/tcp_stream.hpp>
#include <transport/tcp/tcp_wire.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>

namespace sublet::transport::tcp {

/// Payload memory of a worker for one client. Not of the heap: it does not count against what the
/// lease allows its functions (RLIMIT_DATA). Owner: the channel.
class PayloadBuffer {
 public:
  [[nodiscard]] std::byte* data() const noexcept { return memory_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return memory_.size(); }
  /// Has at least `size` bytes from then on, and at most `limit` (or the least a buffer has); the
  /// old content is lost. False when the system has no memory.
  [[nodiscard]] bool grow(std::uint64_t size, std::uint64_t limit) noexcept;

 private:
  base::SharedMemory memory_;
};

/// What a worker's end is made with.
struct ServerTerms {
  std::uint64_t arena_size = 0;  ///< Of the client: no payload is larger.
  std::uint32_t first_sequence = 1;
};

/// The worker's end of a channel. Owner: the executor; used by one worker thread, interrupt() and
/// retire() by any. Destroying it ends the connection, which the listener notices: it shares the
/// stream.
class ServerChannel {
 public:
  /// `stream` has been welcomed; not blocking.
  ServerChannel(std::shared_ptr<const Stream> stream, const ServerTerms& terms);
  ServerChannel(const ServerChannel&) = delete;
  ServerChannel& operator=(const ServerChannel&) = delete;
  ~ServerChannel() { stream_->shut_down(); }

  [[nodiscard]] bool poll(Invocation& invocation) noexcept;
  /// Waits for a client that does not take its reply, until it is gone or interrupt() is called.
  void complete(const Invocation& invocation, const Completion& completion) noexcept;
  /// Async-signal-safe. See the contract.
  void complete_dying(std::uint32_t sequence, Status status, std::string_view error) noexcept;
  void sleep(std::chrono::nanoseconds limit) noexcept;
  void interrupt() noexcept { end(); }
  void retire() noexcept { open_.store(false, std::memory_order_relaxed); }
  [[nodiscard]] bool is_open() const noexcept { return open_.load(std::memory_order_relaxed); }

 private:
  /// Whoever sleeps on the stream wakes, here and at the other end.
  void end() noexcept {
    open_.store(false, std::memory_order_relaxed);
    stream_->shut_down();
  }
  /// As for the same memory in an arena: what a client could lay on a boundary, lies on it.
  [[nodiscard]] static bool aligned(const std::byte* data, std::uint64_t size) noexcept {
    const std::uintptr_t boundary = size <= kInlineBytes ? sizeof(std::uint64_t) : Arena::kGranule;
    return reinterpret_cast<std::uintptr_t>(data) % boundary == 0;
  }
  /// With what pads it.
  [[nodiscard]] bool header_is_there() const noexcept {
    if (inbox_.size() < sizeof(RequestHeader)) return false;
    RequestHeader header;
    std::memcpy(&header, inbox_.data(), sizeof(header));
    // For one that breaks the rules the rest is not waited for.
    return inbox_.size() >= header_span<RequestHeader>(header.in_size) || header.in_size > limit_;
  }
  [[nodiscard]] bool take_header() noexcept;
  [[nodiscard]] bool begin_payload() noexcept;
  [[nodiscard]] bool receive_payload() noexcept;
  void decode(Invocation& invocation, const std::byte* in) noexcept;
  void send_rest(const ReplyHeader& header, const void* payload, std::size_t size,
                 ssize_t sent) noexcept;

  std::shared_ptr<const Stream> stream_;
  Inbox inbox_{sizeof(RequestHeader)};
  RequestHeader request_{};  ///< The copy that is checked and used.
  std::uint64_t limit_;      ///< Of an input or output.
  std::uint32_t next_;
  std::atomic<bool> open_{true};
  bool dry_ = false;                ///< The last poll found nothing, here and in the socket.
  std::uint64_t payload_left_ = 0;  ///< Of the request, still to come into in_; 0: none.
  PayloadBuffer in_;
  PayloadBuffer out_;
  InlineScratch scratch_;
};

inline bool ServerChannel::poll(Invocation& invocation) noexcept {
  if (payload_left_ != 0) [[unlikely]] {
    if (!receive_payload()) return false;
    decode(invocation, in_.data());
    return true;
  }
  if (!header_is_there()) {
    const Status status = inbox_.receive(stream_->fd());
    if (status != Status::kOk) {
      dry_ = true;
      if (status != Status::kAgain) [[unlikely]]
        end();
      return false;
    }
    if (!header_is_there()) [[unlikely]]
      return false;
  }
  dry_ = false;
  if (!take_header()) [[unlikely]]
    return false;
  const std::uint64_t size = request_.in_size;
  const std::byte* in = inbox_.data();
  if (size <= inbox_.size() && (size == 0 || aligned(in, size))) [[likely]] {
    inbox_.consume(size);
  } else {
    if (!begin_payload()) return false;
    in = in_.data();
  }
  decode(invocation, in);
  return true;
}

inline bool ServerChannel::take_header() noexcept {
  std::memcpy(&request_, inbox_.data(), sizeof(request_));
  if (request_.sequence != next_ || request_.in_size > limit_) [[unlikely]] {
    end();  // no place to go on from
    return false;
  }
  inbox_.consume(header_span<RequestHeader>(request_.in_size));
  return true;
}

inline void ServerChannel::decode(Invocation& invocation, const std::byte* in) noexcept {
  invocation.in = in;
  invocation.in_size = request_.in_size;
  invocation.out_capacity = request_.out_capacity;
  invocation.sequence = next_++;
  invocation.function = request_.function;
  invocation.traced = (request_.flags & kTraced) != 0;
  invocation.out_is_inline = request_.out_capacity <= kInlineBytes;
  invocation.verdict = Status::kOk;
  if (invocation.out_is_inline) {
    invocation.out = scratch_.data();
  } else if (request_.out_capacity <= limit_ &&
             (request_.out_capacity <= out_.size() || out_.grow(request_.out_capacity, limit_))) {
    invocation.out = out_.data();
  } else {
    invocation.verdict = Status::kInvalid;
  }
  if ((request_.flags & ~kKnownFlags) != 0) [[unlikely]]
    invocation.verdict = Status::kInvalid;
  if (invocation.verdict != Status::kOk) [[unlikely]]
    refuse(invocation);
}

inline void ServerChannel::complete(const Invocation& invocation,
                                    const Completion& completion) noexcept {
  ReplyHeader header{};
  header.sequence = invocation.sequence;
  header.status = static_cast<std::uint8_t>(completion.status);
  header.size = completion.size;
  header.exec_ns = completion.exec_ns;
  const void* payload = invocation.out;
  std::size_t size = completion.size;
  if (completion.status != Status::kOk) [[unlikely]] {
    size = std::min(completion.error.size(), kErrorBytes);
    payload = completion.error.data();
    header.error_size = static_cast<std::uint16_t>(size);
  }
  const ssize_t sent = send_message(stream_->fd(), header, payload, size);
  if (sent != static_cast<ssize_t>(message_size<ReplyHeader>(size))) [[unlikely]] {
    send_rest(header, payload, size, sent);
  }
}

}  // namespace sublet::transport::tcp
