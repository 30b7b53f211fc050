#pragma once

#include <common/types.hpp>

#include <kj/async.h>
#include <kj/timer.h>

#include <chrono>
#include <stdexcept>
#include <utility>

namespace sublet::sim {

using manager::milliseconds;
using manager::Time;

/// Time that passes only when the event loop has nothing left to do: then it leaps to the next
/// timer. Nothing else moves it, and nothing else wakes the loop.
///
/// Owner: the world; outlives its event loop.
class VirtualTime final : public kj::EventPort {
 public:
  [[nodiscard]] kj::Timer& timer() noexcept { return timer_; }
  /// Since the beginning.
  [[nodiscard]] std::chrono::nanoseconds elapsed() const {
    return std::chrono::nanoseconds((timer_.now() - kj::origin<kj::TimePoint>()) / kj::NANOSECONDS);
  }
  [[nodiscard]] Time now() const {
    return Time(milliseconds(1'800'000'000'000)) +
           std::chrono::duration_cast<milliseconds>(elapsed());
  }

  bool wait() override {
    if (std::exchange(woken_, false)) return true;
    KJ_IF_MAYBE (next, timer_.nextEvent()) {
      timer_.advanceTo(kj::max(*next, timer_.now()));
    } else {
      throw std::logic_error("a simulation waits for what can never happen");
    }
    return false;
  }
  bool poll() override { return std::exchange(woken_, false); }
  void wake() const override { woken_ = true; }

 private:
  kj::TimerImpl timer_{kj::origin<kj::TimePoint>()};
  mutable bool woken_ = false;  ///< A promise of "another thread" was fulfilled: on this one.
};

}  // namespace sublet::sim
