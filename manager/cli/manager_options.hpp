#pragma once

#include <cli/options.hpp>
#include <sublet/session.hpp>
#include <wire/manager_address.hpp>

#include <chrono>
#include <string>

namespace sublet::cli {

/// --manager, --manager-dir: where the resource manager is. See wire/manager_address.hpp.
void add_location_options(CommandLine& line);

/// The location that they name, else this user's own.
Result<wire::ManagerLocation> manager_location(const boost::program_options::variables_map& values);

/// Those and --timeout-ms, of every command that asks a resource manager. What they leave open is
/// found as applications find it, in their configuration file too.
void add_manager_options(CommandLine& line);

struct ManagerTarget {
  wire::ManagerLocation location;
  std::chrono::milliseconds timeout{0};
  SessionOptions session{};  ///< Of an application that is started here.
};
Result<ManagerTarget> manager_target(const boost::program_options::variables_map& values);

}  // namespace sublet::cli
