#pragma once

#include <kj/timer.h>

#include <algorithm>
#include <chrono>

namespace sublet::wire {

/// Resolves when this process has been running for `limit`: one that was stopped meanwhile
/// (SIGSTOP, a suspended job) does not find its deadlines passed before it has looked at what came.
inline kj::Promise<void> after_running(kj::Timer& timer, std::chrono::nanoseconds limit) {
  // A stop lengthens one slice. The last one is for reading what came during the stop.
  constexpr std::chrono::nanoseconds kSlice = std::chrono::milliseconds(500);
  constexpr std::chrono::nanoseconds kLast = std::chrono::milliseconds(20);
  const auto slice = std::min(kSlice, limit > 2 * kLast ? limit - kLast : limit);
  auto over = timer.afterDelay(slice.count() * kj::NANOSECONDS);
  if (slice == limit) return over;
  return over.then([&timer, left = limit - slice] { return after_running(timer, left); });
}

}  // namespace sublet::wire
