#pragma once

#include "cold_start.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "setting.hpp"
#include "statistics.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace sublet::bench {

/// Cold starts with one way to keep functions from the rest of the node.
struct IsolationRow {
  std::string isolation;  ///< As `--isolation` of the executor manager.
  Spread bare_us;         ///< Nothing is there before the lease: from asking to the first result.
  Spread warm_us;         ///< A process (and its container) is ready.
  PairSummary bare;       ///< Beside the same start without isolation.
  PairSummary warm;
  Spread podman_us;    ///< `podman run IMAGE true`. 0 where there is no container.
  PairSummary podman;  ///< Bare starts beside that.
  std::uint64_t starts = 0;
};

struct IsolationReport : Setting {
  std::string image;  ///< Empty: no containers are measured.
  std::vector<IsolationRow> rows;
};

/// `sublet bench isolation`: cold starts under each isolation, in turn within one run, with private
/// managers. Forks: call it while the process has one thread.
Result<IsolationReport> measure_isolation(const IsolationOptions& options, Progress& progress);

}  // namespace sublet::bench
