#include "bench_command.hpp"

#include "bandwidth.hpp"
#include "cold.hpp"
#include "connect.hpp"
#include "isolation.hpp"
#include "latency.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "rate.hpp"
#include "report.hpp"
#include "single_source.hpp"
#include "wide.hpp"

#include <cstdio>
#include <utility>

namespace sublet::bench {
namespace {

int complain(const Error& error, int code) {
  std::fprintf(stderr, "sublet bench: %s\n", error.what());
  return code;
}

template <class Report>
int present(const Result<Report>& report, const CommonOptions& options, JsonFile& file) {
  if (!report) return complain(report.error(), kExitFailed);
  const std::string json = to_json(*report);
  const bool json_only = options.json_file == "-";
  std::fputs(json_only ? json.c_str() : to_table(*report).c_str(), stdout);
  std::fflush(stdout);
  if (auto written = file.write(json); !written) return complain(written.error(), kExitFailed);
  return kExitOk;
}

ColdOptions as_cold(const LatencyOptions& latency) {
  ColdOptions cold;
  static_cast<CommonOptions&>(cold) = latency;
  cold.iterations = latency.iterations;
  cold.warmup = latency.warmup;
  return cold;
}

Result<LatencyReport> measure(const LatencyOptions& options, Progress& progress) {
  if (options.mode != Mode::kCold) return measure_latency(options, progress);
  auto cold = measure_cold(as_cold(options), {Start::kBare}, options.sizes, progress);
  if (!cold) return tl::unexpected<Error>(std::move(cold.error()));
  return as_latency(*cold);
}

Result<ColdReport> measure(const ColdOptions& options, Progress& progress) {
  return measure_cold(options, {Start::kBare, Start::kWarm}, {8}, progress);
}

Result<IsolationReport> measure(const IsolationOptions& options, Progress& progress) {
  return measure_isolation(options, progress);
}

Result<RateReport> measure(const RateOptions& options, Progress& progress) {
  return measure_rate(options, progress);
}

Result<BandwidthReport> measure(const BandwidthOptions& options, Progress& progress) {
  return measure_bandwidth(options, progress);
}

Result<ConnectReport> measure(const ConnectOptions& options, Progress& progress) {
  return measure_connect(options, progress);
}

int run(const SingleSourceOptions&) {
  return kExitFailed;  // another program measures
}

Result<WideReport> measure(const WideOptions& options, Progress& progress) {
  return measure_wide(options, progress);
}

int run(const HelpText& help) {
  std::fputs(help.text.c_str(), stdout);
  return kExitOk;
}

template <class Options>
int run(const Options& options) {
  auto file = JsonFile::open(options.json_file);
  if (!file) return complain(file.error(), kExitUsage);
  Progress progress;
  auto report = measure(options, progress);
  progress.clear();
  return present(report, options, *file);
}

}  // namespace

int bench_command(const std::vector<std::string>& words) {
  const auto options = parse_bench(words);
  if (!options) {
    complain(options.error(), kExitUsage);
    std::fputs("Try 'sublet bench --help'.\n", stderr);
    return kExitUsage;
  }
  if (std::holds_alternative<SingleSourceOptions>(*options)) {
    return complain(run_single_source(words), kExitFailed);
  }
  return std::visit([](const auto& chosen) { return run(chosen); }, *options);
}

}  // namespace sublet::bench
