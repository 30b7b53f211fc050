#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <type_traits>
#include <utility>

namespace sublet::base {

/// One end of the messages between a process and its helper: plain values, at most
/// kMaxMessage bytes each.
class HelperLink {
 public:
  static constexpr std::size_t kMaxMessage = 1024;

  HelperLink() = default;
  explicit HelperLink(Fd socket) : socket_(std::move(socket)) {}

  template <class T>
  Result<void> tell(const T& what) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) < kMaxMessage);
    return send(std::as_bytes(std::span<const T, 1>(&what, 1)));
  }
  /// In the place of what the other end waits for.
  Result<void> tell_failure(const Error& error);

  /// The error says what the other end said, or that it has ended, or that it says nothing for
  /// `limit` (negative: there is none).
  template <class T>
  Result<T> hear(std::chrono::milliseconds limit) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) < kMaxMessage);
    T what{};
    auto heard = receive(std::as_writable_bytes(std::span<T, 1>(&what, 1)), limit);
    if (!heard) return tl::unexpected<Error>(std::move(heard.error()));
    return what;
  }

  /// For poll(2).
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  /// True once the other process has ended; waits up to a second for it. Its other descriptors may
  /// have been seen to close before.
  [[nodiscard]] bool other_has_ended() const noexcept;

 private:
  Result<void> send(std::span<const std::byte> bytes);
  Result<void> receive(std::span<std::byte> bytes, std::chrono::milliseconds limit);
  Fd socket_;
};

/// A child that runs `body` without exec: the other end of a baseline or of a test.
///
/// Start it before the process has a second thread. Owner: whoever holds it; killed and reaped on
/// destruction, and killed by the kernel when the thread that started it dies first.
class HelperProcess {
 public:
  HelperProcess() = default;
  HelperProcess(HelperProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), link_(std::move(other.link_)) {}
  HelperProcess& operator=(HelperProcess&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(link_, other.link_);
    return *this;
  }
  HelperProcess(const HelperProcess&) = delete;
  HelperProcess& operator=(const HelperProcess&) = delete;
  ~HelperProcess() { kill(); }

  /// `body` gets its end of the link.
  static Result<HelperProcess> start(const std::function<void(HelperLink& parent)>& body);

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] HelperLink& link() noexcept { return link_; }
  [[nodiscard]] const HelperLink& link() const noexcept { return link_; }
  /// SIGKILL, and its end is waited for.
  void kill() noexcept;
  /// One system call; does not reap.
  [[nodiscard]] bool alive() const noexcept;

 private:
  pid_t pid_ = -1;
  HelperLink link_;
};

}  // namespace sublet::base
