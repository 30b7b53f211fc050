#pragma once

#include <poll.h>

#include <chrono>
#include <ctime>
#include <span>

namespace sublet::transport {

/// For system calls that take a time limit. Zero when `limit` is negative.
[[nodiscard]] timespec to_timespec(std::chrono::nanoseconds limit) noexcept;

/// Sleeps until one of the descriptors has its events or a signal comes, at most for `limit`.
/// Entries with a negative descriptor are ignored. False when nothing is there.
bool await_fds(std::span<pollfd> fds, std::chrono::nanoseconds limit) noexcept;

/// The same for one descriptor.
inline bool await_fd(int fd, short events, std::chrono::nanoseconds limit) noexcept {
  pollfd entry{fd, events, 0};
  return await_fds({&entry, 1}, limit);
}

}  // namespace sublet::transport
