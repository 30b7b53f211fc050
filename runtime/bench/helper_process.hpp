#pragma once

#include <sublet/result.hpp>

#include <sys/types.h>

#include <functional>
#include <utility>

namespace sublet::bench {

/// A child that runs `body` without exec: the other end of a baseline.
///
/// Start it before the process has a second thread. Owner: whoever holds it; killed and reaped on
/// destruction, and killed by the kernel when the thread that started it dies first.
class HelperProcess {
 public:
  HelperProcess() = default;
  HelperProcess(HelperProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  HelperProcess& operator=(HelperProcess&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  HelperProcess(const HelperProcess&) = delete;
  HelperProcess& operator=(const HelperProcess&) = delete;
  ~HelperProcess();

  static Result<HelperProcess> start(const std::function<void()>& body);

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// One system call; does not reap.
  [[nodiscard]] bool alive() const noexcept;

 private:
  pid_t pid_ = -1;
};

}  // namespace sublet::bench
