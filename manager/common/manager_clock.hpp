#pragma once

#include <common/types.hpp>

#include <chrono>
#include <functional>
#include <utility>

namespace sublet::manager {

/// The managers' clock; see Time. A value. A simulation tells it what time it is.
class ManagerClock {
 public:
  /// `ahead` of the wall clock: for tests.
  explicit ManagerClock(milliseconds ahead = {})
      : wall_(std::chrono::system_clock::now() + ahead),
        steady_(std::chrono::steady_clock::now()) {}
  explicit ManagerClock(std::function<Time()> now) : now_(std::move(now)) {}

  [[nodiscard]] Time now() const {
    if (now_) return now_();
    return std::chrono::time_point_cast<milliseconds>(wall_) +
           std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - steady_);
  }

 private:
  std::function<Time()> now_;
  std::chrono::system_clock::time_point wall_;
  std::chrono::steady_clock::time_point steady_;
};

}  // namespace sublet::manager
