#pragma once

#include "options.hpp"
#include "progress.hpp"
#include "setting.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sublet::bench {

struct RateRow {
  std::uint32_t window = 0;
  double calls_per_s = 0;       ///< With the window full; median over batches.
  double sync_calls_per_s = 0;  ///< One call after the other; median over batches.
  double ratio = 0;             ///< Median over batch pairs.
  std::size_t pairs = 0;
  std::uint64_t calls = 0;  ///< Timed calls with the window full.
};

struct RateReport : Setting {
  std::size_t size_bytes = 0;
  std::vector<RateRow> rows;
};

/// `sublet bench rate`: one client, one worker.
Result<RateReport> measure_rate(const RateOptions& options, Progress& progress);

}  // namespace sublet::bench
