#pragma once

#include <cfenv>
#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace sublet::executor {

/// How this thread calculates: rounding mode, flush to zero, denormals, traps; not the flags that
/// calculations raise. One instruction, below 2 ns.
[[nodiscard]] inline std::uint64_t float_control() noexcept {
#if defined(__x86_64__)
  constexpr std::uint32_t kFlags = 0x3f;
  return _mm_getcsr() & ~kFlags;
#elif defined(__aarch64__)
  std::uint64_t value;
  asm volatile("mrs %0, fpcr" : "=r"(value));
  return value;
#else
  return static_cast<std::uint64_t>(std::fegetround());
#endif
}

}  // namespace sublet::executor
