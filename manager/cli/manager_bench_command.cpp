// `sublet bench manager`: how many leases a resource manager grants and takes back, by its nodes.

#include <base/log.hpp>
#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <common/async.hpp>
#include <common/messages.hpp>
#include <resource_manager/resource_manager_server.hpp>
#include <wire/convert.hpp>

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
#include <deque>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;

constexpr std::uint32_t kMostNodes = 65'536;
constexpr std::uint32_t kCoresOfNode = 64;
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

/// An executor manager that does what it is told at once.
class SimulatedNode final : public wire::NodeControl::Server {
 protected:
  kj::Promise<void> grant(GrantContext context) override {
    context.releaseParams();
    return kj::READY_NOW;
  }
};

class Simulation {
 public:
  Simulation(kj::AsyncIoContext& io, const manager::Operators& operators, std::uint32_t nodes)
      : scope_(io.waitScope),
        service_(
            kj::refcounted<manager::ResourceManagerService>(io.provider->getTimer(), operators)),
        manager_(manager::make_resource_manager(kj::addRef(*service_), nullptr)) {
    for (std::uint32_t i = 0; i < nodes; ++i) join(i);
  }

  /// A new lease, and once there are many the end of the oldest; and the heartbeats that are due.
  void pair() {
    beat();
    lease();
    if (leases_.size() > nodes_.size() * kLeasesOfNode) end_oldest();
  }
  [[nodiscard]] bool is_full() const { return leases_.size() >= nodes_.size() * kLeasesOfNode; }

 private:
  struct Held {
    std::uint64_t lease = 0;
    wire::LeaseHandle::Client handle;
    std::vector<std::pair<std::string, std::uint32_t>> shares;  ///< Node and part.
  };

  void join(std::uint32_t number) {
    const std::string name = "node" + std::to_string(number);
    auto request = manager_.registerRequest();
    manager::write(request.initNode(), manager::NodeOffer{name,
                                                          "boot/" + name,
                                                          kCoresOfNode,
                                                          std::uint64_t{256} << 30,
                                                          "0-63",
                                                          {"tcp:10.0.0.1:7700"},
                                                          kCoresOfNode,
                                                          key_.public_key()});
    request.setControl(kj::heap<SimulatedNode>());
    auto response = request.send().wait(scope_);
    if (auto failure = wire::failure_of(response)) {
      kj::throwFatalException(KJ_EXCEPTION(FAILED, "registering", failure->what()));
    }
    nodes_.emplace(name, response.getRegistration());
  }

  /// Each node says once a second that it is there.
  void beat() {
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    const auto due = static_cast<std::uint64_t>(seconds * static_cast<double>(nodes_.size()));
    for (; beats_ < due; ++beats_) {
      if (next_beat_ == nodes_.end()) next_beat_ = nodes_.begin();
      (next_beat_++)->second.heartbeatRequest().send().wait(scope_);
    }
  }

  void lease() {
    sublet::LeaseRequest wanted;
    wanted.cores = std::uniform_int_distribution<std::uint32_t>(1, 16)(random_);
    wanted.memory_bytes = std::uint64_t{wanted.cores} << 30;
    wanted.holders = {holder_.public_key()};
    auto request = manager_.leaseRequest();
    wire::write(request.initRequest(), wanted, "boot/client", "bench@client");
    auto response = request.send().wait(scope_);
    if (auto failure = wire::failure_of(response)) {
      kj::throwFatalException(KJ_EXCEPTION(FAILED, "leasing", failure->what()));
    }
    Held held{0, response.getHandle(), {}};
    for (const auto grant : response.getGrants()) {
      held.lease = grant.getLeaseId();
      held.shares.emplace_back(wire::to_string(grant.getNodeName()), grant.getPart());
      auto claimed = nodes_.at(held.shares.back().first).claimedRequest();
      claimed.setLeaseId(held.lease);
      claimed.setPart(grant.getPart());
      claimed.send().wait(scope_);
    }
    leases_.push_back(kj::mv(held));
  }

  void end_oldest() {
    Held& held = leases_.front();
    for (const auto& [node, part] : held.shares) {
      auto ended = nodes_.at(node).endedRequest();
      ended.setLeaseId(held.lease);
      ended.setPart(part);
      ended.setReason("its client released it or ended");
      ended.send().wait(scope_);
    }
    leases_.pop_front();
  }

  kj::WaitScope& scope_;
  kj::Own<manager::ResourceManagerService> service_;
  wire::ResourceManager::Client manager_;
  std::map<std::string, wire::NodeRegistration::Client> nodes_;
  std::map<std::string, wire::NodeRegistration::Client>::iterator next_beat_ = nodes_.end();
  std::uint64_t beats_ = 0;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::deque<Held> leases_;
  std::mt19937 random_{20261201};
  const wire::SigningKey holder_ = wire::SigningKey::make();
  const wire::SigningKey key_ = wire::SigningKey::make();  ///< Of each node.
};

ManagerRow measure_manager(std::uint32_t nodes, const manager::Operators& operators,
                           std::chrono::seconds time) {
  auto io = kj::setupAsyncIo();
  Simulation simulation(io, operators, nodes);
  while (!simulation.is_full()) simulation.pair();
  std::vector<double> samples;
  const auto begin = std::chrono::steady_clock::now();
  auto before = begin;
  while (before - begin < time) {
    simulation.pair();
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
