#pragma once

#include "options.hpp"
#include "progress.hpp"
#include "setting.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sublet::bench {

/// So many data channels, each to a worker of its own.
struct ConnectRow {
  std::uint32_t connections = 0;
  double together_us = 0;    ///< Opened in one go; median over rounds.
  double one_by_one_us = 0;  ///< Each when the one before is open; median over rounds.
  double ratio = 0;          ///< Together by one by one; median over rounds.
  std::size_t rounds = 0;
};

struct ConnectReport : Setting {
  std::vector<ConnectRow> rows;
};

/// `sublet bench connect`: how long a client takes to open channels to the workers of a lease, all
/// of them together and one after the other. The other end is a process that listens as an executor
/// does; each time a new listener, since a worker takes its next client only once it has seen the
/// last one go, which nobody here is told. Forks: call it while the process has one thread.
Result<ConnectReport> measure_connect(const ConnectOptions& options, Progress& progress);

}  // namespace sublet::bench
