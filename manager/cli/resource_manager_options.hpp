#pragma once

#include <cli/options.hpp>
#include <resource_manager/lease_desk.hpp>

#include <ledger/ledger_writer.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace sublet::cli {

// What the options of `resource-manager` say; kInvalid names the one that is wrong.

Result<manager::Prices> prices(const boost::program_options::variables_map& values);
Result<manager::LeaseDesk::Limits> desk_limits(const boost::program_options::variables_map& values);
Result<std::chrono::milliseconds> clock_tolerance(
    const boost::program_options::variables_map& values);

/// What SIGHUP changes of a resource manager that runs.
struct Reloaded {
  manager::LeaseDesk::Limits desk;
  manager::Prices prices;
  std::chrono::milliseconds clock_tolerance{0};
};
Result<Reloaded> reloaded_options(const boost::program_options::variables_map& values);

/// All that it would refuse to start with, as far as that can be seen without starting it.
std::vector<std::string> resource_manager_problems(
    const boost::program_options::variables_map& values);

}  // namespace sublet::cli
