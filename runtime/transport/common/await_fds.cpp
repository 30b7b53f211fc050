#include <base/uncancelled.hpp>
#include <transport/common/await_fds.hpp>

#include <algorithm>

namespace sublet::transport {

timespec to_timespec(std::chrono::nanoseconds limit) noexcept {
  const auto ns = std::max<std::chrono::nanoseconds::rep>(limit.count(), 0);
  timespec time{};
  time.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
  time.tv_nsec = static_cast<long>(ns % 1'000'000'000);
  return time;
}

bool await_fds(std::span<pollfd> fds, std::chrono::nanoseconds limit) noexcept {
  if (limit.count() <= 0) return false;
  const base::Uncancelled uncancelled;
  const timespec timeout = to_timespec(limit);
  return ::ppoll(fds.data(), fds.size(), &timeout, nullptr) > 0;
}

}  // namespace sublet::transport
