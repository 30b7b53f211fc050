#pragma once

#include <atomic>

// The problem: before a thread sleeps it says so in shared memory and looks once more for work; the
// other side publishes work and looks whether the sleeper must be woken. Neither may miss the
// other, which normally costs a full fence on both sides, and one of them is the hot path.
//
// membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) runs a full fence on every core that runs a
// registered process, so the rare side (about to sleep, some microseconds) pays for both and the
// frequent side needs only a compiler barrier. Where the kernel lacks it, or sleeping is the common
// case, both sides use a real fence.
namespace sublet::base {

/// Registers this process so that its peers' heavy fences reach it. Once per process, cached;
/// false when the kernel cannot.
bool register_asymmetric_fence() noexcept;

/// The rare side's half: after its store, before its load. Always a full fence of the caller's own;
/// false when the system refused the other half (a seccomp filter, no memory): then the peer's
/// light fence counts for nothing, and the caller must soon look again by itself.
[[nodiscard]] bool heavy_fence() noexcept;

/// The frequent side's half; only after register_asymmetric_fence() said true in both processes.
inline void light_fence() noexcept {
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace sublet::base
