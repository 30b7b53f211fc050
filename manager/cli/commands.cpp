#include <cli/command.hpp>

#include <bench/bench_command.hpp>

#include <array>

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

}  // namespace

std::span<const Command> commands() {
  static constexpr std::array kCommands = {
      Command{"resource-manager", "knows all nodes and grants leases on them",
              &resource_manager_command},
      Command{"executor-manager", "offers this node's cores and starts executors on them",
              &executor_manager_command},
      Command{"nodes", "lists the nodes, and what is free on them", &nodes_command},
      Command{"leases", "lists the leases, and what they have used", &leases_command},
      Command{"lease", "leases cores, and keeps them or runs a program that uses them",
              &lease_command},
      Command{"quota", "shows and sets how much users may have", &quota_command},
      Command{"ledger", "shows what users, jobs, leases and nodes have used", &ledger_command},
      Command{"drain", "gives a node back: its leases end soon, and it gets no new ones",
              &drain_command},
      Command{"release", "ends a lease: one's own, or as an operator anybody's", &release_command},
      Command{"forget", "removes a lost node from the list", &forget_command},
      Command{"key", "makes a key by which clients and managers know each other", &key_command},
      Command{"functions", "lists the functions that a library exports", &functions_command},
      Command{"devices", "lists this node's RDMA devices", &devices_command},
      Command{"doctor", "says which transport calls would take here, and why", &doctor_command},
      Command{"slurm", "prints batch scripts for a Slurm cluster", &slurm_command},
      Command{"bench", "measures latency, bandwidth, rate and cold starts", &bench_command},
      Command{"private-manager", nullptr, &private_manager_command},
  };
  return kCommands;
}

}  // namespace sublet::cli
