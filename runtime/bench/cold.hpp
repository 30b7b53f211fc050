#pragma once

#include "cold_start.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "setting.hpp"
#include "statistics.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sublet::bench {

struct ColdRow {
  Start start = Start::kBare;
  std::size_t size_bytes = 0;
  Spread ours_us;       ///< From the call that asks for the lease to the first result.
  Spread fork_exec_us;  ///< fork+exec+wait of /bin/true.
  PairSummary pairs;
  std::uint64_t starts = 0;
};

struct ColdReport : Setting {
  std::vector<ColdRow> rows;
};

/// `sublet bench cold`, and `sublet bench latency --mode cold` with its sizes. The session is open
/// and the node has the function library in its cache: what is measured is the start of an executor
/// process, the way to it and the first call. All of `starts` with private managers; with a manager
/// that is given, that of them which its node has (--warm-executors). Forks: call it while the
/// process has one thread.
Result<ColdReport> measure_cold(const ColdOptions& options, const std::vector<Start>& starts,
                                const std::vector<std::size_t>& sizes, Progress& progress);

}  // namespace sublet::bench
