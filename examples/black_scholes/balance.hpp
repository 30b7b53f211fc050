#pragma once

#include <algorithm>
#include <optional>

namespace black_scholes {

/// Which share of a rank's options its workers get: fixed, or such that rank and workers finish
/// together, from the rates seen in the step before.
class Balance {
 public:
  Balance(std::optional<double> fixed, unsigned workers)
      : adaptive_(!fixed), share_(fixed.value_or(workers / (workers + 1.0))) {}

  [[nodiscard]] double share() const noexcept { return share_; }

  /// The share is an estimate: a rank that has finished its part may price what it has not sent
  /// yet.
  [[nodiscard]] bool is_estimate() const noexcept { return adaptive_; }

  /// Options a second of the rank itself and of all its workers together; 0 where one had no work.
  void observe(double own_rate, double workers_rate) noexcept {
    if (!adaptive_ || own_rate <= 0 || workers_rate <= 0) return;
    const double target = workers_rate / (own_rate + workers_rate);
    // Half the way: one disturbed step must not throw the next one out of balance. Both sides keep
    // some work, or their rates could not be measured again.
    share_ = std::clamp((share_ + target) / 2, kLeast, 1 - kLeast);
  }

 private:
  static constexpr double kLeast = 0.02;
  bool adaptive_;
  double share_;
};

}  // namespace black_scholes
