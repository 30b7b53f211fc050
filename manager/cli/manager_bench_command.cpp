// `sublet bench manager`: how many leases a resource manager grants and takes back, by its nodes.

#include <base/log.hpp>
#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <cli/simulated_cluster.hpp>
#include <common/async.hpp>

#include <bench/report.hpp>
#include <bench/statistics.hpp>
#include <boost/program_options.hpp>
#include <kj/async-io.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;

constexpr std::uint32_t kMostNodes = 65'536;
/// Of all leases together, kept while others come and go: the nodes are full in part, and differ.
constexpr std::uint32_t kLeasesOfNode = 4;

}  // namespace

CommandLine manager_bench_command_line() {
  CommandLine line;
  line.name = "bench manager";
  line.arguments = "[OPTIONS]";
  line.about =
      "Measures how fast a resource manager grants leases and takes them back, on simulated nodes "
      "of\n"
      "64 cores: each pair is a lease of 1 to 16 cores that is asked for, told to its node, "
      "signed, "
      "claimed, "
      "and\n"
      "another one that ends there; nodes say once a second that they are there. All by the calls "
      "that clients and executor managers make, in "
      "one\n"
      "process and one thread: what the network adds is not in it.";
  line.options.add_options()("nodes", po::value<std::string>()->default_value("1000,10000"),
                             "how many nodes; several numbers separated by commas")(
      "seconds", po::value<std::uint32_t>()->default_value(5), "for each number of nodes")(
      "json", po::value<std::string>()->default_value(""),
      "write the figures to this file; - for standard output in place of the table");
  return line;
}

namespace {

struct ManagerRow {
  std::uint32_t nodes = 0;
  double pairs_per_s = 0;
  bench::Spread pair_us;
  std::uint64_t rss_bytes = 0;
};

std::uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t all = 0;
  std::uint64_t resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

ManagerRow measure_manager(std::uint32_t nodes, const manager::Operators& operators,
                           std::chrono::seconds time) {
  auto io = kj::setupAsyncIo();
  SimulatedCluster cluster(io, operators, nodes, std::size_t{nodes} * kLeasesOfNode);
  while (!cluster.is_full()) cluster.pair();
  std::vector<double> samples;
  const auto begin = std::chrono::steady_clock::now();
  auto before = begin;
  while (before - begin < time) {
    cluster.pair();
    const auto after = std::chrono::steady_clock::now();
    samples.push_back(std::chrono::duration<double, std::micro>(after - before).count());
    before = after;
  }
  ManagerRow row;
  row.nodes = nodes;
  row.pairs_per_s =
      static_cast<double>(samples.size()) / std::chrono::duration<double>(before - begin).count();
  row.pair_us = bench::spread_of(std::move(samples));
  row.rss_bytes = resident_bytes();
  return row;
}

std::string whole(double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.0f", value);
  return text.data();
}

std::string managers_table(const std::vector<ManagerRow>& rows) {
  std::vector<std::vector<std::string>> cells = {
      {"NODES", "PAIRS/s", "p50 us", "p99 us", "RSS MiB"}};
  for (const ManagerRow& row : rows) {
    cells.push_back({std::to_string(row.nodes), whole(row.pairs_per_s), whole(row.pair_us.p50),
                     whole(row.pair_us.p99), std::to_string(row.rss_bytes >> 20)});
  }
  return format_table(std::move(cells));
}

std::string managers_json(const std::vector<ManagerRow>& rows) {
  auto values = nlohmann::json::array();
  for (const ManagerRow& row : rows) {
    values.push_back({{"nodes", row.nodes},
                      {"pairs_per_s", row.pairs_per_s},
                      {"p50_us", row.pair_us.p50},
                      {"p99_us", row.pair_us.p99},
                      {"rss_bytes", row.rss_bytes}});
  }
  return values.dump(2) + "\n";
}

Result<void> measure_managers(const po::variables_map& values) {
  const auto nodes = parse_numbers("nodes", values["nodes"].as<std::string>(), kMostNodes);
  if (!nodes) return tl::unexpected<Error>(nodes.error());
  const std::chrono::seconds time(values["seconds"].as<std::uint32_t>());
  if (time.count() < 1 || time.count() > 3600) {
    return fail(ErrorKind::kInvalid,
                "--seconds is " + std::to_string(time.count()) + "; allowed are 1 to 3600");
  }
  const auto& json = values["json"].as<std::string>();
  auto file = bench::JsonFile::open(json);
  if (!file) return tl::unexpected<Error>(file.error());
  const auto operators = manager::Operators::of_this_process();
  if (!operators) return tl::unexpected<Error>(operators.error());
  base::log().set_level(spdlog::level::err);  // thousands of nodes come and go
  std::vector<ManagerRow> rows;
  for (const std::uint32_t number : *nodes)
    rows.push_back(measure_manager(number, *operators, time));
  std::cout << (json == "-" ? managers_json(rows) : managers_table(rows)) << std::flush;
  return file->write(managers_json(rows));
}

}  // namespace

int manager_bench_command(const std::vector<std::string>& words) {
  return run_command(manager_bench_command_line(), words, [](const Values& values) -> Result<void> {
    try {
      return measure_managers(values);
    } catch (const kj::Exception& exception) {
      return fail(ErrorKind::kInternal, manager::text_of(exception));
    }
  });
}

}  // namespace sublet::cli
