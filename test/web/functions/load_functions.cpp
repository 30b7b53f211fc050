// Computes for as many microseconds as its argument says: load for the page.
#include <chrono>
#include <cstdint>
#include <cstring>

extern "C" std::uint32_t compute(void* args, std::uint32_t size, void* res) {
  std::uint32_t us = 0;
  if (size == sizeof(us)) std::memcpy(&us, args, sizeof(us));
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(us);
  std::uint32_t rounds = 0;
  while (std::chrono::steady_clock::now() < end) ++rounds;
  std::memcpy(res, &rounds, sizeof(rounds));
  return sizeof(rounds);
}
