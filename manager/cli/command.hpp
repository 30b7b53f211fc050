#pragma once

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
int slurm_command(const std::vector<std::string>& words);

/// Tells stderr what went wrong, as all commands do, and returns `exit_code`.
int complain(std::string_view command, std::string_view text, int exit_code);

}  // namespace sublet::cli
