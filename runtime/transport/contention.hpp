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

  /// Call it every few spins with the time. True while cores seem to be short.
  bool observe(base::Ticks now) noexcept {
    // Signed: the counters of two cores may differ by a few ticks, and a step back is no gap.
    const auto away = static_cast<std::int64_t>(now - last_);
    if (away > static_cast<std::int64_t>(gap_)) short_until_ = now + memory_;
    last_ = now;
    return now < short_until_;
  }

 private:
  base::Ticks last_ = 0;
  base::Ticks short_until_ = 0;
  base::Ticks gap_;
  base::Ticks memory_;
};

}  // namespace sublet::transport
