#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

namespace black_scholes {

/// What steps that were priced twice, alone and offloading, say about offloading: how many times as
/// fast it was, pair by pair. What disturbs the machine for a while disturbs both of a pair.
struct Gain {
  std::size_t pairs = 0;
  double lower_quartile = 0;
  double median = 0;
  double upper_quartile = 0;

  static Gain of(std::span<const double> seconds_alone,
                 std::span<const double> seconds_offloading) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < std::min(seconds_alone.size(), seconds_offloading.size()); ++i) {
      if (seconds_offloading[i] > 0) ratios.push_back(seconds_alone[i] / seconds_offloading[i]);
    }
    if (ratios.empty()) return {};
    std::sort(ratios.begin(), ratios.end());
    // The sample nearest to that part of the way from the least to the greatest.
    const auto at = [&](double part) {
      return ratios[static_cast<std::size_t>(part * static_cast<double>(ratios.size() - 1) + 0.5)];
    };
    return {ratios.size(), at(0.25), at(0.5), at(0.75)};
  }

  /// A claim only where the machine can bear one out: a core for each busy thread, and three
  /// quarters of the pairs on one side.
  [[nodiscard]] bool is_faster() const { return lower_quartile > 1; }
  [[nodiscard]] bool is_slower() const { return upper_quartile < 1; }

  /// What may be claimed, for a person. `threads` compute at a time, on `cores` cores.
  [[nodiscard]] std::string claim(std::size_t threads, std::size_t cores) const {
    if (threads > cores) {
      return "no claim: " + std::to_string(threads) + " busy threads share " +
             std::to_string(cores) + (cores == 1 ? " core" : " cores") +
             ", so there is no free core to gain from";
    }
    if (pairs == 0) return "no claim: no step was timed both ways";
    if (is_faster()) return fixed(median) + " times as fast";
    if (is_slower()) return "none: slower, " + fixed(median) + " times as fast";
    return "no claim: the steps do not agree; are the cores in use by others?";
  }

  /// What the claim rests on.
  [[nodiscard]] std::string evidence() const {
    return std::to_string(pairs) + " pairs of steps: offloading was " + fixed(median) +
           " times as fast in the median, " + fixed(lower_quartile) + " to " +
           fixed(upper_quartile) + " times in the middle half";
  }

 private:
  static std::string fixed(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f", value);
    return text;
  }
};

}  // namespace black_scholes
