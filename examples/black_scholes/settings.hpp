#pragma once

#include <sublet/session.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace black_scholes {

/// What the command line asked for.
struct Settings {
  std::string portfolio;
  std::optional<double> offload_share;  ///< 0 to 1; none: balanced by measured rates.
  std::uint32_t steps = 5;
  std::uint32_t workers_per_rank = 1;
  std::size_t chunk = 4096;  ///< Options in one invocation.
  std::string until;         ///< All steps again and again until this file exists; empty: once.
  std::string trace;         ///< Where to write the timeline; empty: nowhere.
  std::string json;          ///< Where to write the summary as JSON; empty: nowhere.
  sublet::SessionOptions session;
};

/// Reads Sublet's flags, then ours. nullopt when --help was asked for: the text is in `help` then.
/// Throws std::exception for flags that make no sense.
std::optional<Settings> read_settings(int argc, char** argv, std::string& help);

}  // namespace black_scholes
