#pragma once

#include <base/clock.hpp>
#include <transport/tuning.hpp>

#include <algorithm>
#include <cstdint>

namespace sublet::transport {

/// Notices that cores are short. A spin loop that was away for longer than an interrupt takes lost
/// its core to somebody else; spinning on would then keep the very thread away that it waits for.
///
/// Finding out costs a scheduler's slice, in which no thread that waits for this core makes
/// progress. So it is remembered, for twice as long each time it is found out again soon after.
///
/// Owner and user: one spinning thread.
class Contention {
 public:
  Contention()
      : gap_(base::TickRate::get().from(tuning::kDescheduledGap)),
        shortest_(base::TickRate::get().from(tuning::kContentionMemory)),
        longest_(base::TickRate::get().from(tuning::kContentionMemoryMax)) {}

  /// The thread starts to spin at `now`; what it did before is not held against it.
  void restart(base::Ticks now) noexcept { last_ = now; }

  /// Call it every few spins with the time. True while cores seem to be short.
  [[nodiscard]] bool observe(base::Ticks now) noexcept {
    // Signed: the counters of two cores may differ by a few ticks, and a step back is no gap.
    const auto away = static_cast<std::int64_t>(now - last_);
    if (away > static_cast<std::int64_t>(gap_)) found_out(now);
    last_ = now;
    return now < short_until_;
  }

  /// What the thread waited for came at `now`, after the thread had slept since `slept_since`. If
  /// it came just after the spinning ended, the spinning kept the other side from its core. That
  /// counts only while cores were not taken to be short: a spin that was cut short proves nothing.
  void served_asleep(base::Ticks slept_since, base::Ticks now) noexcept {
    if (slept_since >= short_until_ && now - slept_since < gap_) found_out(now);
  }

 private:
  void found_out(base::Ticks now) noexcept {
    const bool again = now < short_until_ + kSoon * memory_;
    memory_ = again ? std::min(2 * memory_, longest_) : shortest_;
    short_until_ = now + memory_;
  }

  /// "Soon" is within this many times the last memory, counted from its end.
  static constexpr base::Ticks kSoon = 4;

  base::Ticks last_ = 0;
  base::Ticks short_until_ = 0;
  base::Ticks memory_ = 0;  ///< How long the last one was.
  base::Ticks gap_;
  base::Ticks shortest_;
  base::Ticks longest_;
};

}  // namespace sublet::transport
