#pragma once

#include "options.hpp"
#include "progress.hpp"
#include "setting.hpp"
#include "statistics.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sublet::bench {

struct LatencyRow {
  std::size_t size_bytes = 0;
  Spread ours_us;
  Spread raw_us;
  PairSummary pairs;
  std::uint32_t calls_per_sample = 1;
  std::uint64_t calls = 0;  ///< Timed calls of ours.
  /// Open MPI's round trip as it comes, and with btl_vader_eager_limit 32768.
  std::optional<double> openmpi_p50_us;
  std::optional<double> openmpi_eager32k_p50_us;
  /// Over a network: openmpi_p50_us is of Open MPI's TCP over loopback, and this our p50 divided by
  /// it, the median over runs of the one and the other in turn.
  std::optional<double> openmpi_ratio;
};

struct LatencyReport : Setting {
  Mode mode = Mode::kHot;
  std::vector<LatencyRow> rows;
  std::string compare_note;  ///< Why --compare has no figures; empty when it has.
};

/// `sublet bench latency` in the modes hot and warm; cold.hpp has the third. Forks: call it while
/// the process has one thread.
Result<LatencyReport> measure_latency(const LatencyOptions& options, Progress& progress);

/// How many calls make a sample of the hot exchange: enough that reading the clock costs a sample
/// less than about a hundredth.
[[nodiscard]] std::uint32_t calls_per_sample(Mode mode, std::size_t size_bytes);

}  // namespace sublet::bench
