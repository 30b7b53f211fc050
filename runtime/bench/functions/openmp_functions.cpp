// What `sublet bench wide` calls: a function that runs OpenMP threads on all cores of its worker.

#include <sublet/function.hpp>

#include <cmath>
#include <cstdint>
#include <numbers>

namespace {

/// The cumulative normal distribution.
double normal(double x) noexcept {
  return 0.5 * std::erfc(-x / std::numbers::sqrt2);
}

/// Black and Scholes' price of a call option. Each number has an option of its own.
double price(std::uint64_t number) noexcept {
  constexpr double kRate = 0.02;
  const double spot = 100;
  const double strike = 50 + static_cast<double>(number % 101);
  const double volatility = 0.1 + static_cast<double>(number % 7) * 0.05;
  const double maturity = 0.25 + static_cast<double>(number % 13) * 0.25;
  const double deviation = volatility * std::sqrt(maturity);
  const double d1 =
      (std::log(spot / strike) + (kRate + volatility * volatility / 2) * maturity) / deviation;
  return spot * normal(d1) - strike * std::exp(-kRate * maturity) * normal(d1 - deviation);
}

}  // namespace

// The sum of the prices of so many options.
SUBLET_FUNCTION(price_options, const std::uint64_t& count, double& sum) {
  double all = 0;
  // Pieces that are small against all: a core that somebody disturbs gets fewer of them.
#pragma omp parallel for schedule(dynamic, 4096) reduction(+ : all)
  for (std::uint64_t i = 0; i < count; ++i) all += price(i);
  sum = all;
}
