#pragma once

#include <cli/options.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sublet::cli {

/// One word after `sublet`.
struct Command {
  const char* name;
  const char* summary;  ///< One line for `sublet --help`; null for what people never call.
  /// Gets the words after the command's own; returns an exit code of exit_codes.hpp. Runs while the
  /// process has one thread.
  int (*run)(const std::vector<std::string>& words);
  /// How it is called, for manual pages and completion: its own line, then those of its benchmarks.
  std::vector<CommandLine> (*describe)();
};

/// All commands, in the order of `sublet --help`.
std::span<const Command> commands();

int resource_manager_command(const std::vector<std::string>& words);
int executor_manager_command(const std::vector<std::string>& words);
int private_manager_command(const std::vector<std::string>& words);
int nodes_command(const std::vector<std::string>& words);
int leases_command(const std::vector<std::string>& words);
int lease_command(const std::vector<std::string>& words);
int quota_command(const std::vector<std::string>& words);
int ledger_command(const std::vector<std::string>& words);
/// `sublet bench ledger`: of `words`, those after `ledger`.
int ledger_bench_command(const std::vector<std::string>& words);
int drain_command(const std::vector<std::string>& words);
int release_command(const std::vector<std::string>& words);
int forget_command(const std::vector<std::string>& words);
int connection_bench_command(const std::vector<std::string>& words);
int manager_bench_command(const std::vector<std::string>& words);
int observe_bench_command(const std::vector<std::string>& words);
int key_command(const std::vector<std::string>& words);
int functions_command(const std::vector<std::string>& words);
int devices_command(const std::vector<std::string>& words);
int doctor_command(const std::vector<std::string>& words);
int top_command(const std::vector<std::string>& words);
int config_command(const std::vector<std::string>& words);
int trace_command(const std::vector<std::string>& words);
/// Writes manual pages and completions when Sublet is built.
int describe_command(const std::vector<std::string>& words);
int slurm_command(const std::vector<std::string>& words);

/// How each is called. That of a benchmark has the name "bench ledger".
CommandLine resource_manager_command_line();
CommandLine executor_manager_command_line();
CommandLine private_manager_command_line();
CommandLine nodes_command_line();
CommandLine leases_command_line();
CommandLine lease_command_line();
CommandLine quota_command_line();
CommandLine ledger_command_line();
CommandLine ledger_bench_command_line();
CommandLine drain_command_line();
CommandLine release_command_line();
CommandLine forget_command_line();
CommandLine connection_bench_command_line();
CommandLine manager_bench_command_line();
CommandLine observe_bench_command_line();
CommandLine key_command_line();
CommandLine functions_command_line();
CommandLine devices_command_line();
CommandLine doctor_command_line();
CommandLine top_command_line();
CommandLine config_command_line();
CommandLine trace_command_line();
CommandLine describe_command_line();
CommandLine slurm_command_line();

/// Tells stderr what went wrong, as all commands do, and returns `exit_code`.
int complain(std::string_view command, std::string_view text, int exit_code);

}  // namespace sublet::cli
