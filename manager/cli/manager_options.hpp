#pragma once

#include <cli/options.hpp>

#include <chrono>
#include <string>

namespace sublet::cli {

/// --manager and --timeout-ms, of every command that asks a resource manager.
void add_manager_options(CommandLine& line);

struct ManagerTarget {
  std::string address;
  std::chrono::milliseconds timeout{0};
};
ManagerTarget manager_target(const boost::program_options::variables_map& values);

}  // namespace sublet::cli
