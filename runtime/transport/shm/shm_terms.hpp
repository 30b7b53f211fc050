#pragma once

#include <cstdint>

namespace sublet::transport::shm {

/// Whether the frequent side pays for the fence between "here is work" and "do you sleep?".
enum class FenceMode : std::uint8_t {
  kAsymmetric,  ///< The sleeper pays for both with a membarrier. For channels that are mostly hot.
  kSymmetric,   ///< Both use a real fence: no membarrier here, or sleeping is the common case.
};

/// What the two ends of a channel agree on when it is made.
struct Terms {
  std::uint32_t slots;
  FenceMode fences;
  /// The first call's number. Another one only where a test wants to see the numbers wrap; its slot
  /// and those after it must then come round before the number 0 does.
  std::uint32_t first_sequence = 1;
};

}  // namespace sublet::transport::shm
