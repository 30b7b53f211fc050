#pragma once

// What is said while a channel is set up; see shm_setup.hpp for when.

#include <transport/common/greeting.hpp>

#include <cstdint>
#include <type_traits>

namespace sublet::transport::shm {

inline constexpr std::uint32_t kMagic = 0x5342'4c54;
inline constexpr std::uint32_t kVersion = 3;

/// From the client, with the arena's memfd beside it.
struct Hello : Greeting {
  std::uint32_t asymmetric;  ///< 1: the client is registered for asymmetric fences.
  std::uint32_t unused;
};
static_assert(sizeof(Hello) == 48 && std::is_trivially_copyable_v<Hello>);

/// From the executor, with the channel's memfd beside it. It refuses with an Answer alone.
struct Welcome : Answer {
  std::uint32_t asymmetric;  ///< 1: both sides use asymmetric fences.
};
static_assert(sizeof(Welcome) == 260 && std::is_trivially_copyable_v<Welcome>);

}  // namespace sublet::transport::shm
