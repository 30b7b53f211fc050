#pragma once

#include <cli/options.hpp>
#include <executor_manager/executor_manager.hpp>

#include <optional>
#include <string>
#include <vector>

namespace sublet::cli {

/// The options that describe what a node offers: of `executor-manager` and `private-manager`.
void add_node_options(CommandLine& line);

/// How executors are kept from the rest of the node; of the same two.
void add_isolation_options(CommandLine& line, const std::string& by_default);

/// What these say, checked against this node; blocks for some 100 ms where executors run in
/// containers.
struct IsolationChoice {
  manager::Isolation isolation = manager::Isolation::kProcess;
  std::optional<manager::ContainerImages> images;  ///< Of containers.
  std::optional<manager::ContainerRuntime> containers;
};
Result<IsolationChoice> isolation_of(const boost::program_options::variables_map& values);

Result<manager::ExecutorManagerOptions> node_options(
    const boost::program_options::variables_map& values);

/// All that an executor manager would refuse to start with on this node, as far as that can be seen
/// without starting it: values, cores that are not here, devices, users.
std::vector<std::string> executor_manager_problems(
    const boost::program_options::variables_map& values);

}  // namespace sublet::cli
