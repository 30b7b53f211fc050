#pragma once

#include "gain.hpp"
#include <sublet/lease.hpp>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace black_scholes {

/// Where a rank and its workers run. Cores in list syntax, for instance "0-3,8".
struct RankPlace {
  std::string node;
  std::string cores;
  std::vector<sublet::WorkerInfo> workers;

  /// For sending it to rank 0: fields separated by tabs, workers' fields too.
  [[nodiscard]] std::string to_text() const;
  static RankPlace from_text(const std::string& text);
};

/// This rank's own place: its host, and the cores it may run on.
RankPlace place_of_this_rank(sublet::Lease& lease);

struct Percentiles {
  std::size_t samples = 0;
  double p50_us = 0;
  double p99_us = 0;
};
Percentiles percentiles(std::vector<float> samples_us);

/// The median of a few durations; 0 for none.
double median(std::vector<double> values);

/// All that a run has to say, on rank 0.
struct Summary {
  std::uint64_t options = 0;
  std::uint32_t steps = 0;
  std::size_t chunk = 0;
  bool automatic = false;
  std::vector<RankPlace> ranks;
  std::uint64_t own = 0;        ///< Prices computed by ranks.
  std::uint64_t offloaded = 0;  ///< Prices computed by workers.
  double first_share = 0;       ///< What the ranks' workers were given in the first step,
  double last_share = 0;        ///< and in the last.
  Percentiles single;
  Percentiles chunks;
  double step_seconds_alone = 0;       ///< Median step without offloading.
  double step_seconds_offloading = 0;  ///< Median step with it.
  Gain gain;
  sublet::Usage usage;
  double portfolio_value = 0;
  std::uint64_t different = 0;      ///< Prices that are not the same bits as without offloading.
  std::uint64_t parity_broken = 0;  ///< Prices that violate put-call parity.
  double largest_parity_error = 0;  ///< Relative to the amounts involved.
  std::uint64_t failed_calls = 0;
  std::string first_failure;
  std::string trace;

  [[nodiscard]] bool right() const { return different == 0 && parity_broken == 0; }
  [[nodiscard]] double share() const;
  /// Threads that compute at the same time, and the cores they have for it: on one node only, else
  /// both 0.
  [[nodiscard]] std::pair<std::size_t, std::size_t> threads_and_cores() const;
};

/// For a person.
void print(std::ostream& out, const Summary& summary);

/// For a program. Throws std::runtime_error when the file cannot be written.
void write_json(const std::string& path, const Summary& summary);

}  // namespace black_scholes
