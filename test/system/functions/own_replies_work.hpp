#pragma once

// What the soak of own_replies_test.cpp and its function library agree on: every byte that travels
// follows from the number of its call.

#include <cstddef>
#include <cstdint>
#include <span>

namespace sublet::test {

enum class Action : std::uint32_t { kWork, kCrash, kOverrun, kThrow };

struct Order {
  std::uint64_t number;
  Action action;
  std::uint32_t out_size;
};

inline std::uint8_t byte_of(std::uint64_t number, std::size_t place) {
  std::uint64_t x = number * 0x9e37'79b9'7f4a'7c15 + place * 0xbf58'476d'1ce4'e5b9;
  x ^= x >> 29;
  return static_cast<std::uint8_t>(x);
}

inline void fill_bytes(std::span<std::uint8_t> bytes, std::uint64_t number) {
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = byte_of(number, i);
}

/// How many of them are not what they should be.
inline std::size_t wrong_bytes(std::span<const std::uint8_t> bytes, std::uint64_t number) {
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) wrong += bytes[i] != byte_of(number, i) ? 1 : 0;
  return wrong;
}

/// The numbers of a call's input and output.
constexpr std::uint64_t input_number(std::uint64_t call) {
  return 2 * call;
}
constexpr std::uint64_t output_number(std::uint64_t call) {
  return 2 * call + 1;
}

}  // namespace sublet::test
