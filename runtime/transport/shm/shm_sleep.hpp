#pragma once

#include <base/asymmetric_fence.hpp>
#include <transport/shm/shm_layout.hpp>
#include <transport/shm/shm_terms.hpp>

#include <algorithm>
#include <chrono>

namespace sublet::transport::shm {

/// How long a side may sleep when the kernel refused the membarrier that its peer's light fence
/// counts on: about what being woken costs, many times over.
inline constexpr auto kUnfencedSleep = std::chrono::milliseconds(1);

/// Wakes the sleeper on `word`. Off the hot path (one futex call). Async-signal-safe.
void wake_slow(SleepWord& word) noexcept;

/// As wake_slow, whatever the word says: for a wake-up that must not depend on what the other side
/// has written there.
void wake_always(SleepWord& word) noexcept;

/// Waits until the word is not 1, or `limit` is over. The caller has set it to 1.
void futex_wait(SleepWord& word, std::chrono::nanoseconds limit) noexcept;

/// HOT PATH: after a release store that the other side waits for. One load of a line that nobody
/// writes while both sides are awake.
inline void wake_if_sleeping(SleepWord& word, FenceMode mode) noexcept {
  if (mode == FenceMode::kAsymmetric) {
    base::light_fence();
  } else {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  if (std::atomic_ref<std::uint32_t>(word.sleeping).load(std::memory_order_relaxed) != 0)
      [[unlikely]] {
    wake_slow(word);
  }
}

/// Sleeps on `word` unless `ready()` is already true, at most for `limit`.
template <class Ready>
void sleep_unless(SleepWord& word, FenceMode mode, std::chrono::nanoseconds limit,
                  Ready&& ready) noexcept {
  std::atomic_ref<std::uint32_t> sleeping(word.sleeping);
  sleeping.store(1, std::memory_order_relaxed);
  if (mode == FenceMode::kAsymmetric) {
    if (!base::heavy_fence()) limit = std::min<std::chrono::nanoseconds>(limit, kUnfencedSleep);
  } else {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  if (!ready()) futex_wait(word, limit);
  sleeping.store(0, std::memory_order_relaxed);
}

}  // namespace sublet::transport::shm
