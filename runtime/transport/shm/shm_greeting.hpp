#pragma once

// What is said while a channel is set up; see shm_setup.hpp for when.

#include <transport/setup.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace sublet::transport::shm {

inline constexpr std::uint32_t kMagic = 0x5342'4c54;
inline constexpr std::uint32_t kVersion = 1;

/// From the client, with the arena's memfd beside it.
struct Hello {
  std::uint32_t magic;
  std::uint32_t version;
  Token token;
  std::uint32_t worker;
  std::uint32_t slots;
  std::uint64_t arena_size;
  std::uint32_t asymmetric;  ///< 1: the client is registered for asymmetric fences.
  std::uint32_t unused;
};
static_assert(sizeof(Hello) == 48);

/// From the executor, with the channel's memfd beside it unless it refuses.
struct Welcome {
  std::uint32_t magic;
  std::uint8_t status;  ///< sublet::Status; anything but kOk is a refusal.
  std::uint8_t asymmetric;
  std::array<char, 250> text;  ///< Why it refuses, zero-terminated.
};
static_assert(sizeof(Welcome) == 256);

}  // namespace sublet::transport::shm
