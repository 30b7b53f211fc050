#pragma once

#include <base/clock.hpp>

namespace sublet::base {

/// One moment by two clocks: the processor's counter, and CLOCK_MONOTONIC, which all processes of a
/// node share. A plain value.
struct ClockAnchor {
  Ticks tick = 0;
  double us = 0;        ///< Of CLOCK_MONOTONIC.
  double error_us = 0;  ///< The two are at most so far apart.

  /// Now: the closest of several readings, some microseconds.
  static ClockAnchor take();
};

/// Tells counter readings as times of CLOCK_MONOTONIC, so that the traces of a node's processes
/// line up. Between two anchors, since the counter's rate is not known well enough for hours.
class ClockAlignment {
 public:
  /// From `since` until now.
  explicit ClockAlignment(const ClockAnchor& since) : ClockAlignment(since, ClockAnchor::take()) {}
  ClockAlignment(const ClockAnchor& since, const ClockAnchor& until);

  [[nodiscard]] double us(Ticks tick) const noexcept;
  /// How wrong us() may be, within the two anchors.
  [[nodiscard]] double error_us() const noexcept { return error_us_; }

 private:
  ClockAnchor until_;
  double us_per_tick_;
  double error_us_;
};

}  // namespace sublet::base
