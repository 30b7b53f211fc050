#include "latency.hpp"

#include "batch.hpp"
#include "exchange.hpp"
#include "leased_worker.hpp"
#include "mpi_compare.hpp"
#include "raw_transport.hpp"

#include <algorithm>
#include <memory>
#include <utility>

namespace sublet::bench {
namespace {

/// Batch pairs per size when the user does not say how many calls: the median ratio of so many
/// repeats to about a hundredth.
constexpr std::size_t kDefaultPairs = 200;
/// A given number of calls is still spread over some pairs, since the ratio is a median of pairs.
constexpr std::uint64_t kLeastPairs = 5;
/// Large payloads take more than a batch's time for one call: then there are fewer pairs.
constexpr auto kDefaultTimePerSize = 8s;

/// A worker or raw server that must sleep between calls is given so long to fall asleep: it leaves
/// its last reply, finds nothing to do and makes two or three system calls.
constexpr auto kWarmGap = 50us;

/// The batches of one size, kept until it is known which pairs count.
struct Series {
  std::vector<BatchPair> pairs;
  std::vector<std::vector<double>> ours;
  std::vector<std::vector<double>> raw;
};

/// The samples of the pairs that count.
std::vector<double> flatten(const std::vector<std::vector<double>>& batches,
                            const std::vector<BatchPair>& pairs, bool all) {
  std::vector<double> samples;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if (all || steady(pairs[i])) {
      samples.insert(samples.end(), batches[i].begin(), batches[i].end());
    }
  }
  return samples;
}

/// How far the series is and whether it is complete.
class Extent {
 public:
  Extent(std::uint64_t iterations, std::uint32_t calls_per_sample)
      : wanted_samples_((iterations + calls_per_sample - 1) / calls_per_sample),
        start_(std::chrono::steady_clock::now()) {}

  [[nodiscard]] std::uint64_t max_samples_per_batch() const {
    if (wanted_samples_ == 0) return ~std::uint64_t{0};
    const std::uint64_t share = (wanted_samples_ + kLeastPairs - 1) / kLeastPairs;
    return std::min(share, wanted_samples_ - samples_);
  }
  void add(std::size_t samples) {
    samples_ += samples;
    ++pairs_;
  }
  [[nodiscard]] bool complete() const {
    if (wanted_samples_ != 0) return samples_ >= wanted_samples_;
    return pairs_ >= kDefaultPairs ||
           (pairs_ >= kLeastPairs &&
            std::chrono::steady_clock::now() - start_ > kDefaultTimePerSize);
  }
  [[nodiscard]] std::size_t done() const {
    return wanted_samples_ != 0 ? static_cast<std::size_t>(samples_) : pairs_;
  }
  [[nodiscard]] std::size_t total() const {
    return wanted_samples_ != 0 ? static_cast<std::size_t>(wanted_samples_) : kDefaultPairs;
  }

 private:
  std::uint64_t wanted_samples_;
  std::uint64_t samples_ = 0;
  std::size_t pairs_ = 0;
  std::chrono::steady_clock::time_point start_;
};

/// The bare exchange of one size.
struct RawSide {
  RawExchange* raw;
  RawKind kind;
  PrivatePayload payload;
};

Result<std::vector<double>> run_batch(RawSide& side, const BatchPlan& plan) {
  return side.raw->run_batch(side.kind, side.payload, plan);
}

/// Alternates batches of ours and raw; which goes first alternates too, so that a drift of the
/// machine favours neither.
Result<Series> run_series(SubletExchange& ours, RawSide& raw, BatchPlan plan, Extent extent,
                          Progress& progress, const std::string& what) {
  Series series;
  const auto line = [&raw] { return raw.raw->bounced_line_ns(); };
  auto before = line();
  if (!before) return tl::unexpected<Error>(std::move(before.error()));
  while (!extent.complete()) {
    plan.max_samples = extent.max_samples_per_batch();
    const bool ours_first = series.pairs.size() % 2 == 0;
    auto first = ours_first ? run_batch(ours, plan) : run_batch(raw, plan);
    if (!first) return tl::unexpected<Error>(std::move(first.error()));
    auto between = line();
    if (!between) return tl::unexpected<Error>(std::move(between.error()));
    auto second = ours_first ? run_batch(raw, plan) : run_batch(ours, plan);
    if (!second) return tl::unexpected<Error>(std::move(second.error()));
    auto after = line();
    if (!after) return tl::unexpected<Error>(std::move(after.error()));

    auto& our_samples = ours_first ? *first : *second;
    auto& raw_samples = ours_first ? *second : *first;
    series.pairs.push_back(
        {percentile(our_samples, 0.5), percentile(raw_samples, 0.5), *before, *between, *after});
    extent.add(our_samples.size());
    series.ours.push_back(std::move(our_samples));
    series.raw.push_back(std::move(raw_samples));
    before = after;
    progress.show(what, extent.done(), extent.total());
  }
  return series;
}

/// Before anything is timed: all bytes of a payload make the round trip, and `warmup` more calls
/// do.
template <class Side>
Result<void> check_echo(Side& side, std::uint64_t warmup) {
  auto batch = run_batch(side, {.max_samples = 1, .warmup_calls = warmup, .checked = true});
  if (!batch) return tl::unexpected<Error>(std::move(batch.error()));
  return {};
}

BatchPlan plan_of(const LatencyOptions& options) {
  BatchPlan plan;
  if (options.mode == Mode::kWarm) {
    plan.gap = kWarmGap;
    plan.warmup_calls = 1;
  }
  return plan;
}

Result<LatencyRow> measure_size(const LatencyOptions& options, std::size_t size,
                                LeasedWorker& worker, RawExchange& raw_exchange,
                                Progress& progress) {
  auto ours = SubletExchange::create(worker.lease, worker.echo, size);
  if (!ours) return tl::unexpected<Error>(std::move(ours.error()));
  RawSide raw{&raw_exchange, options.mode == Mode::kWarm ? RawKind::kWarm : RawKind::kHot,
              PrivatePayload(size)};
  if (auto checked = check_echo(*ours, options.warmup); !checked) {
    return tl::unexpected<Error>(std::move(checked.error()));
  }
  if (auto checked = check_echo(raw, options.warmup); !checked) {
    return tl::unexpected<Error>(std::move(checked.error()));
  }

  BatchPlan plan = plan_of(options);
  plan.calls_per_sample = calls_per_sample(options.mode, size);
  const std::string what =
      std::string("latency ") + to_string(options.mode) + " " + std::to_string(size) + " B";
  auto series = run_series(*ours, raw, plan, Extent(options.iterations, plan.calls_per_sample),
                           progress, what);
  if (!series) return tl::unexpected<Error>(std::move(series.error()));

  LatencyRow row;
  row.size_bytes = size;
  row.calls_per_sample = plan.calls_per_sample;
  row.pairs = summarise(series->pairs);
  row.ours_us = to_us(spread_of(flatten(series->ours, series->pairs, row.pairs.unsteady)));
  row.raw_us = to_us(spread_of(flatten(series->raw, series->pairs, row.pairs.unsteady)));
  for (const auto& batch : series->ours) row.calls += batch.size() * plan.calls_per_sample;
  return row;
}

std::vector<MpiRequest> mpi_requests(const LatencyReport& report) {
  std::vector<MpiRequest> requests;
  for (const LatencyRow& row : report.rows) {
    requests.push_back({row.size_bytes, row.calls_per_sample});
  }
  return requests;
}

/// Open MPI between two ranks of one node, as it comes and with a larger eager limit.
void compare_on_node(LatencyReport& report, Progress& progress) {
  progress.show("Open MPI", 0, 1);
  for (const bool eager32k : {false, true}) {
    auto figures = openmpi_pingpong(report.cpus, mpi_requests(report),
                                    eager32k ? MpiTransport::kEager32k : MpiTransport::kDefault);
    if (!figures) {
      report.compare_note = figures.error().what();
      return;
    }
    for (std::size_t i = 0; i < figures->size(); ++i) {
      auto& target = eager32k ? report.rows[i].openmpi_eager32k_p50_us  //
                              : report.rows[i].openmpi_p50_us;
      target = (*figures)[i];
    }
  }
}

/// Open MPI's TCP and ours in turn: a run of mpirun takes a second, in which the host can move the
/// cores, so that one run of each would say little.
Result<void> compare_over_tcp(LatencyReport& report, LeasedWorker& worker, const BatchPlan& plan,
                              Progress& progress) {
  constexpr std::size_t kRuns = 5;
  constexpr std::size_t kBatches = 10;
  std::vector<std::vector<double>> theirs(report.rows.size());
  std::vector<std::vector<double>> ratios(report.rows.size());
  for (std::size_t run = 0; run < kRuns; ++run) {
    progress.show("Open MPI", run, kRuns);
    auto figures = openmpi_pingpong(report.cpus, mpi_requests(report), MpiTransport::kTcp);
    if (!figures) {
      report.compare_note = figures.error().what();
      return {};
    }
    for (std::size_t i = 0; i < report.rows.size(); ++i) {
      auto ours = SubletExchange::create(worker.lease, worker.echo, report.rows[i].size_bytes);
      if (!ours) return tl::unexpected<Error>(std::move(ours.error()));
      BatchPlan again = plan;
      again.calls_per_sample = report.rows[i].calls_per_sample;
      again.max_samples = kMaxIterations;
      std::vector<double> p50;
      for (std::size_t batch = 0; batch < kBatches; ++batch) {
        auto samples = run_batch(*ours, again);
        if (!samples) return tl::unexpected<Error>(std::move(samples.error()));
        p50.push_back(percentile(*samples, 0.5) / 1000);
      }
      theirs[i].push_back((*figures)[i]);
      ratios[i].push_back(median(std::move(p50)) / (*figures)[i]);
    }
  }
  for (std::size_t i = 0; i < report.rows.size(); ++i) {
    report.rows[i].openmpi_p50_us = median(std::move(theirs[i]));
    report.rows[i].openmpi_ratio = median(std::move(ratios[i]));
  }
  return {};
}

}  // namespace

std::uint32_t calls_per_sample(Mode mode, std::size_t size_bytes) {
  if (mode != Mode::kHot) return 1;
  if (size_bytes <= 256) return 64;
  if (size_bytes <= 4096) return 16;
  if (size_bytes <= 65536) return 4;
  return 1;
}

Result<LatencyReport> measure_latency(const LatencyOptions& options, Progress& progress) {
  const std::size_t max_size = *std::max_element(options.sizes.begin(), options.sizes.end());
  auto raw = start_raw(options.transport, max_size);
  if (!raw) return tl::unexpected<Error>(std::move(raw.error()));
  auto session = open_session(options);
  if (!session) return tl::unexpected<Error>(std::move(session.error()));
  const bool hot = options.mode == Mode::kHot;
  auto worker = lease_worker(*session, options, {.hot_timeout = hot ? kHotTimeout : 0ms});
  if (!worker) return tl::unexpected<Error>(std::move(worker.error()));
  if (auto pinned = (*raw)->pin_server(worker->cpus.worker); !pinned) {
    return tl::unexpected<Error>(std::move(pinned.error()));
  }
  LatencyReport report;
  report.mode = options.mode;
  report.cpus = worker->cpus;
  report.transport = options.transport;
  report.manager = session->manager_address();
  {
    auto pinned = PinnedThread::on(worker->cpus.client);
    if (!pinned) return tl::unexpected<Error>(std::move(pinned.error()));
    for (const std::size_t size : options.sizes) {
      auto row = measure_size(options, size, *worker, **raw, progress);
      if (!row) return tl::unexpected<Error>(std::move(row.error()));
      report.rows.push_back(*row);
    }
  }
  if (options.compare && options.transport == transport::Kind::kShm) {
    worker->lease.release();
    compare_on_node(report, progress);
  } else if (options.compare) {
    auto pinned = PinnedThread::on(worker->cpus.client);
    if (!pinned) return tl::unexpected<Error>(std::move(pinned.error()));
    auto compared = compare_over_tcp(report, *worker, plan_of(options), progress);
    if (!compared) return tl::unexpected<Error>(std::move(compared.error()));
  }
  return report;
}

}  // namespace sublet::bench
