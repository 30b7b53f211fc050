#include "cold.hpp"

#include "cold_start.hpp"
#include "exchange.hpp"
#include "fork_exec.hpp"
#include "leased_worker.hpp"
#include <base/clock.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace sublet::bench {
namespace {

using namespace std::chrono_literals;

/// A node that keeps processes ready has said so after some tens of milliseconds.
constexpr auto kWarmLimit = 1s;
constexpr auto kWarmCheck = 200us;

void append(std::vector<double>& all, const std::vector<double>& batch) {
  all.insert(all.end(), batch.begin(), batch.end());
}

Result<ColdRow> measure_size(Session& session, Start start_with, const std::string& library,
                             ForkExecTimer& timer, const ColdOptions& options, std::size_t size,
                             Progress& progress) {
  PrivatePayload payload(size);
  if (auto warm = start_batch(session, start_with, library, payload, options.warmup); !warm) {
    return tl::unexpected<Error>(std::move(warm.error()));
  }
  ColdRow row;
  row.start = start_with;
  row.size_bytes = size;
  std::vector<double> ours;
  std::vector<double> fork_exec;
  std::vector<BatchPair> pairs;
  while (row.starts < options.iterations) {
    const auto count = static_cast<unsigned>(
        std::min<std::uint64_t>(kStartsPerBatch, options.iterations - row.starts));
    auto batch = start_batch(session, start_with, library, payload, count);
    if (!batch) return tl::unexpected<Error>(std::move(batch.error()));
    auto baseline = timer.run(count);
    if (!baseline) return tl::unexpected<Error>(std::move(baseline.error()));
    BatchPair pair;
    pair.ours = percentile(*batch, 0.5);
    pair.baseline = percentile(*baseline, 0.5);
    pairs.push_back(pair);
    append(ours, *batch);
    append(fork_exec, *baseline);
    row.starts += count;
    progress.show(std::string(to_string(start_with)) + " " + std::to_string(size) + " B",
                  row.starts, options.iterations);
  }
  row.ours_us = to_us(spread_of(std::move(ours)));
  row.fork_exec_us = to_us(spread_of(std::move(fork_exec)));
  row.pairs = summarise(pairs);
  return row;
}

/// Which of the starts the node of a manager that is given has; nothing for a private one, which
/// has what it is told to have.
Result<std::optional<Start>> start_of(Session& session) {
  if (session.manager_is_private()) return std::optional<Start>();
  const base::Deadline deadline = base::Deadline::after(kWarmLimit);
  while (!deadline.passed()) {
    auto nodes = session.nodes();
    if (!nodes) return tl::unexpected<Error>(std::move(nodes.error()));
    for (const NodeInfo& node : *nodes) {
      if (node.warm_executors > 0) return std::optional(Start::kWarm);
    }
    std::this_thread::sleep_for(kWarmCheck);
  }
  return std::optional(Start::kBare);
}

/// Rows of one start. Once before anything is timed a worker says where it is, and fills the node's
/// library cache.
Result<void> measure_start(Session& session, Start start, const std::string& library,
                           ForkExecTimer& timer, const ColdOptions& options,
                           const std::vector<std::size_t>& sizes, Progress& progress,
                           ColdReport& report) {
  report.manager = session.manager_address();
  {
    auto worker = lease_worker(session, options, {});
    if (!worker) return tl::unexpected<Error>(std::move(worker.error()));
    report.cpus = worker->cpus;
  }
  // Left alone the client may wake up on the worker's core, and the first call waits for a whole
  // time slice of the scheduler.
  auto pinned = PinnedThread::on(report.cpus.client);
  if (!pinned) return tl::unexpected<Error>(std::move(pinned.error()));
  for (const std::size_t size : sizes) {
    auto row = measure_size(session, start, library, timer, options, size, progress);
    if (!row) return tl::unexpected<Error>(std::move(row.error()));
    report.rows.push_back(*row);
  }
  return {};
}

}  // namespace

Result<ColdReport> measure_cold(const ColdOptions& options, const std::vector<Start>& starts,
                                const std::vector<std::size_t>& sizes, Progress& progress) {
  auto library = bench_library();
  if (!library) return tl::unexpected<Error>(std::move(library.error()));
  auto timer = ForkExecTimer::start();
  if (!timer) return tl::unexpected<Error>(std::move(timer.error()));
  ColdReport report;
  report.transport = options.transport;
  for (const Start start : starts) {
    auto session = open_session_for({start, {}, {}}, options);
    if (!session) return tl::unexpected<Error>(std::move(session.error()));
    auto only = start_of(*session);
    if (!only) return tl::unexpected<Error>(std::move(only.error()));
    if (*only && **only != start) continue;
    if (auto measured =
            measure_start(*session, start, *library, *timer, options, sizes, progress, report);
        !measured) {
      return tl::unexpected<Error>(std::move(measured.error()));
    }
  }
  return report;
}

}  // namespace sublet::bench
