#pragma once

#include "options.hpp"
#include "progress.hpp"
#include "setting.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sublet::bench {

struct BandwidthRow {
  std::size_t size_bytes = 0;
  double mib_per_s = 0;      ///< Input delivered to the function; median over batches.
  double raw_mib_per_s = 0;  ///< The bare stream; median over batches.
  double ratio = 0;          ///< Ours by the bare one; median over batch pairs.
  std::size_t pairs = 0;
  std::uint64_t bytes = 0;  ///< Timed bytes of ours.
};

struct BandwidthReport : Setting {
  std::uint32_t window = 0;
  std::vector<BandwidthRow> rows;
};

/// `sublet bench bandwidth`: one client, one worker, large inputs and answers of 8 bytes, beside
/// the transport's bare stream.
Result<BandwidthReport> measure_bandwidth(const BandwidthOptions& options, Progress& progress);

}  // namespace sublet::bench
