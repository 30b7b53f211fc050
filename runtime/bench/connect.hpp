#pragma once

#include "options.hpp"
#include "progress.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
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

struct ConnectReport {
  CpuPair cpus;
  wire::TransportKind transport = wire::TransportKind::kShm;
  std::string manager;
  std::vector<ConnectRow> rows;
};

/// `sublet bench connect`: how long a client takes to open channels to the workers of a lease, all
/// of them together and one after the other. Each time on a lease of its own: a worker takes its
/// next client only once it has seen the last one go, which nobody here is told.
Result<ConnectReport> measure_connect(const ConnectOptions& options, Progress& progress);

}  // namespace sublet::bench
