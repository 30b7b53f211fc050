#pragma once

#include <base/clock.hpp>
#include <transport/tuning.hpp>

#include <cstdint>

namespace sublet::transport {

/// Notices that cores are short. A spin loop that was away for longer than an interrupt takes lost
/// its core to somebody else; spinning on would then keep the very thread away that it waits for.
/// Owner and user: one spinning thread.
class Contention {
 public:
  Contention()
      : gap_(base::TickRate::get().from(tuning::kDescheduledGap)),
        memory_(base::TickRate::get().from(tuning::kContentionMemory)) {}

  /// The thread starts to spin at `now`; what it did before is not held against it.
  void restart(base::Ticks now) noexcept { last_ = now; }

  /// Whether so much time lies between two stamps that the thread may have lost its core.
  [[nodiscard]] bool is_gap(base::Ticks before, base::Ticks after) const noexcept {
    return after - before > gap_;
  }

  /// Call it every few spins with the time. True while cores seem to be short.
  [[nodiscard]] bool observe(base::Ticks now) noexcept {
    // Signed: the counters of two cores may differ by a few ticks, and a step back is no gap.
    const auto away = static_cast<std::int64_t>(now - last_);
    if (away > static_cast<std::int64_t>(gap_)) short_until_ = now + memory_;
    last_ = now;
    return now < short_until_;
  }

  /// What the thread waited for came at `now`, after it had slept since `slept_since`. Spinning in
  /// vain and then being served at once means that the spinning kept the server away: it must not
  /// have been short already, or giving up early would be its own reason.
  void served_asleep(base::Ticks slept_since, base::Ticks now) noexcept {
    if (slept_since >= short_until_ && now - slept_since < gap_) short_until_ = now + memory_;
  }

 private:
  base::Ticks last_ = 0;
  base::Ticks short_until_ = 0;
  base::Ticks gap_;
  base::Ticks memory_;
};

}  // namespace sublet::transport
