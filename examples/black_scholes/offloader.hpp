#pragma once

#include "pricing.hpp"
#include <sublet/sublet.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

namespace black_scholes {

/// What one step was like on one rank.
struct StepReport {
  std::uint64_t own = 0;        ///< Options priced by the rank itself.
  std::uint64_t offloaded = 0;  ///< Options priced by its workers.
  double own_seconds = 0;       ///< The rank's time in the pricing code.
  double workers_seconds = 0;   ///< From the first chunk sent to the last one back.

  [[nodiscard]] double own_rate() const {
    return own_seconds > 0 ? static_cast<double>(own) / own_seconds : 0;
  }
  [[nodiscard]] double workers_rate() const {
    return workers_seconds > 0 ? static_cast<double>(offloaded) / workers_seconds : 0;
  }
};

/// Prices options on the leased workers and on this rank at the same time: chunks from the end of
/// the array are in flight while the rank works from its beginning. A chunk whose call fails,
/// whatever the reason, is priced here: losing a worker costs time, never a result.
///
/// Thread rule: as for the lease. `options` and `prices` of step() lie in the lease's arena.
class Offloader {
 public:
  Offloader(sublet::Lease& lease, std::size_t chunk);

  /// `share` of the options is for the workers. With `may_take_back`, the rank prices those of them
  /// that are not sent when it has finished with its own.
  StepReport step(std::span<const Option> options, std::span<Price> prices, double share,
                  bool may_take_back);

  /// Prices one option at a time, synchronously: what a call costs when there is nothing to hide
  /// it.
  void measure_single_calls(const Option& option, std::size_t count);

  [[nodiscard]] const std::vector<float>& chunk_round_trips_us() const { return chunk_us_; }
  [[nodiscard]] const std::vector<float>& single_round_trips_us() const { return single_us_; }
  [[nodiscard]] std::uint64_t failed_calls() const { return failed_; }
  [[nodiscard]] const std::string& first_failure() const { return first_failure_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct InFlight {
    sublet::Call call;
    std::size_t first = 0;
    std::size_t count = 0;
    Clock::time_point sent;
  };

  void price_here(std::span<const Option> options, std::span<Price> prices, std::size_t first,
                  std::size_t count, StepReport& report);
  void send(std::span<const Option> options, std::span<Price> prices, StepReport& report);
  void collect(std::span<const Option> options, std::span<Price> prices, StepReport& report,
               bool wait);
  void finish(InFlight& chunk, const sublet::Reply& reply, std::span<const Option> options,
              std::span<Price> prices, StepReport& report);
  void note_failure(std::string text);

  sublet::Function price_;
  std::size_t chunk_;
  std::size_t window_;
  std::size_t next_ = 0;  ///< First option of the offloaded part that has not been sent.
  bool lost_ = false;     ///< The lease has ended: the rest is ours.
  std::deque<InFlight> in_flight_;
  Clock::time_point last_back_;
  std::vector<float> chunk_us_;
  std::vector<float> single_us_;
  std::uint64_t failed_ = 0;
  std::string first_failure_;
};

}  // namespace black_scholes
