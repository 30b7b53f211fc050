#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace sublet::sim {

/// Everything that a simulation leaves to chance. The same seed gives the same numbers with every
/// compiler and library. A value.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}

  std::uint64_t raw() { return engine_(); }
  std::uint32_t pick(std::uint32_t below) { return static_cast<std::uint32_t>(engine_() % below); }
  bool one_in(std::uint32_t many) { return pick(many) == 0; }
  std::chrono::nanoseconds between(std::chrono::nanoseconds least, std::chrono::nanoseconds most) {
    const std::chrono::nanoseconds range = most - least;
    return least + std::chrono::nanoseconds(static_cast<std::int64_t>(
                       engine_() % (static_cast<std::uint64_t>(range.count()) + 1)));
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace sublet::sim
