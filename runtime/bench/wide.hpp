#pragma once

#include "options.hpp"
#include "progress.hpp"
#include "setting.hpp"
#include "statistics.hpp"

#include <cstdint>
#include <string>

namespace sublet::bench {

/// A function with OpenMP threads on a worker of several cores, beside the same one on a worker of
/// one core.
struct WideReport : Setting {
  std::uint32_t cores = 2;  ///< Of the wide worker.
  std::string cpuset;       ///< Where it is.
  Spread wide_us;           ///< Of a call.
  Spread one_core_us;
  PairSummary pairs;          ///< How many times as fast it is.
  std::uint64_t options = 0;  ///< Priced by a call.
  std::uint64_t calls = 0;    ///< Of each worker.
};

/// `sublet bench wide`. The two leases share cores and are called in turn; the client sleeps while
/// it waits, and so needs no core of its own.
Result<WideReport> measure_wide(const WideOptions& options, Progress& progress);

}  // namespace sublet::bench
