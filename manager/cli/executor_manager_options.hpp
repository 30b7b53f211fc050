#pragma once

#include <cli/options.hpp>
#include <executor_manager/executor_manager.hpp>

namespace sublet::cli {

/// The options that describe what a node offers: of `executor-manager` and `private-manager`.
void add_node_options(CommandLine& line);

Result<manager::ExecutorManagerOptions> node_options(
    const boost::program_options::variables_map& values);

}  // namespace sublet::cli
