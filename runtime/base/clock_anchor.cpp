#include <base/clock_anchor.hpp>

#include <algorithm>
#include <ctime>

namespace sublet::base {
namespace {

constexpr int kReadings = 16;
/// Below this the anchors' own errors are more than what the measured rate may be wrong by.
constexpr double kShortUs = 100'000;
constexpr double kMonotonicStepUs = 0.001;

}  // namespace

ClockAnchor ClockAnchor::take() {
  const double us_per_tick = 1e-3 / TickRate::get().ticks_per_ns();
  ClockAnchor closest;
  for (int i = 0; i < kReadings; ++i) {
    timespec now{};
    const Ticks before = ticks();
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const Ticks half = (ticks() - before) / 2;
    const double error = static_cast<double>(half) * us_per_tick + kMonotonicStepUs;
    if (i != 0 && error >= closest.error_us) continue;
    closest.tick = before + half;
    closest.us = static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) * 1e-3;
    closest.error_us = error;
  }
  return closest;
}

ClockAlignment::ClockAlignment(const ClockAnchor& since, const ClockAnchor& until)
    : until_(until),
      us_per_tick_(1e-3 / TickRate::get().ticks_per_ns()),
      error_us_(std::max(since.error_us, until.error_us)) {
  if (until.us - since.us < kShortUs) return;
  us_per_tick_ = (until.us - since.us) / static_cast<double>(until.tick - since.tick);
}

double ClockAlignment::us(Ticks tick) const noexcept {
  return until_.us +
         static_cast<double>(static_cast<std::int64_t>(tick - until_.tick)) * us_per_tick_;
}

}  // namespace sublet::base
