#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace sublet::test {

/// What a client of the soak and the soak itself tell each other, in shared memory.
struct SoakReport {
  static constexpr int kFd = 3;  ///< Where the client finds it.

  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> calls{0};    ///< That ended well.
  std::atomic<std::uint64_t> failed{0};   ///< That ended with an error, as they may here.
  std::atomic<std::uint64_t> wrong{0};    ///< That ended well with other data than their own.
  std::atomic<std::uint64_t> endless{0};  ///< That had not ended after kEndless.
  std::array<char, 256> first_wrong{};
};

}  // namespace sublet::test
