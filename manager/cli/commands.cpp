#include <cli/command.hpp>

#include <bench/bench_command.hpp>
#include <bench/benchmarks.hpp>

#include <array>
#include <utility>

namespace sublet::cli {
namespace {

/// The benchmarks are the runtime's, but for what only managers do.
int bench_command(const std::vector<std::string>& words) {
  if (!words.empty() && words.front() == "manager") {
    return manager_bench_command({words.begin() + 1, words.end()});
  }
  if (!words.empty() && words.front() == "connection") {
    return connection_bench_command({words.begin() + 1, words.end()});
  }
  if (!words.empty() && words.front() == "ledger") {
    return ledger_bench_command({words.begin() + 1, words.end()});
  }
  if (!words.empty() && words.front() == "observe") {
    return observe_bench_command({words.begin() + 1, words.end()});
  }
  return sublet::bench::bench_command(words);
}

template <CommandLine (*line)()>
std::vector<CommandLine> just() {
  return {line()};
}

std::vector<CommandLine> describe_bench() {
  CommandLine own;
  own.name = "bench";
  own.arguments = "BENCHMARK [OPTIONS]";
  own.about =
      "Measures what calls cost, with the same work done without Sublet beside each figure. The\n"
      "benchmarks are:";
  std::vector<CommandLine> lines;
  for (const bench::Benchmark& each : bench::benchmarks()) {
    own.choices["benchmark"].push_back(each.name);
    own.about += "\n  " + each.name + ": " + each.summary;
    CommandLine line;
    line.name = "bench " + each.name;
    line.arguments = "[OPTIONS]";
    line.about = each.summary;
    line.options.add(each.options);
    lines.push_back(std::move(line));
  }
  for (CommandLine line : {ledger_bench_command_line(), manager_bench_command_line(),
                           connection_bench_command_line(), observe_bench_command_line()}) {
    const std::string name = line.name.substr(line.name.find(' ') + 1);
    own.choices["benchmark"].push_back(name);
    own.about += "\n  " + name + ": see below";
    lines.push_back(std::move(line));
  }
  own.positional = "benchmark";
  std::vector<CommandLine> all;
  all.push_back(std::move(own));
  for (CommandLine& line : lines) all.push_back(std::move(line));
  return all;
}

}  // namespace

std::span<const Command> commands() {
  static constexpr std::array kCommands = {
      Command{"resource-manager", "knows all nodes and grants leases on them",
              &resource_manager_command, &just<resource_manager_command_line>},
      Command{"executor-manager", "offers this node's cores and starts executors on them",
              &executor_manager_command, &just<executor_manager_command_line>},
      Command{"nodes", "lists the nodes, and what is free on them", &nodes_command,
              &just<nodes_command_line>},
      Command{"top", "shows nodes, leases and users in a terminal, again and again", &top_command,
              &just<top_command_line>},
      Command{"leases", "lists the leases, and what they have used", &leases_command,
              &just<leases_command_line>},
      Command{"lease", "leases cores, and keeps them or runs a program that uses them",
              &lease_command, &just<lease_command_line>},
      Command{"quota", "shows and sets how much users may have", &quota_command,
              &just<quota_command_line>},
      Command{"ledger", "shows what users, jobs, leases and nodes have used", &ledger_command,
              &just<ledger_command_line>},
      Command{"drain", "gives a node back: its leases end soon, and it gets no new ones",
              &drain_command, &just<drain_command_line>},
      Command{"release", "ends a lease: one's own, or as an operator anybody's", &release_command,
              &just<release_command_line>},
      Command{"forget", "removes a lost node from the list", &forget_command,
              &just<forget_command_line>},
      Command{"key", "makes a key by which clients and managers know each other", &key_command,
              &just<key_command_line>},
      Command{"functions", "lists the functions that a library exports", &functions_command,
              &just<functions_command_line>},
      Command{"devices", "lists this node's RDMA devices", &devices_command,
              &just<devices_command_line>},
      Command{"doctor", "looks at this node: what was found, what is wanted, what to do",
              &doctor_command, &just<doctor_command_line>},
      Command{"slurm", "prints batch scripts for a Slurm cluster", &slurm_command,
              &just<slurm_command_line>},
      Command{"bench", "measures latency, bandwidth, rate and cold starts", &bench_command,
              &describe_bench},
      Command{"config", "checks a configuration file", &config_command, &just<config_command_line>},
      Command{"trace", "converts a timeline of calls to OTF2", &trace_command,
              &just<trace_command_line>},
      Command{"private-manager", nullptr, &private_manager_command,
              &just<private_manager_command_line>},
      Command{"describe", nullptr, &describe_command, &just<describe_command_line>},
  };
  return kCommands;
}

}  // namespace sublet::cli
