#pragma once

#include <sublet/result.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace sublet::manager {

/// What another program has said.
struct ProgramAnswer {
  std::string output;       ///< Standard output and standard error, 64 KiB at most.
  bool ended_well = false;  ///< With exit code 0.
};

/// Runs `words`, the first of which is a path or is looked for in PATH, and waits for its end:
/// killed when that takes longer than `limit`. kUnsupported: there is no such program. Blocks.
Result<ProgramAnswer> ask_program(const std::vector<std::string>& words,
                                  std::chrono::milliseconds limit);

}  // namespace sublet::manager
