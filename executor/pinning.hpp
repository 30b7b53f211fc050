#pragma once

#include <sublet/result.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace sublet::executor {

/// Processing units by the operating system's numbers. Without hwloc: an executor that is an
/// application's own program has no time to load it.
struct Cores {
  std::string text;  ///< As the order names them.
  std::vector<unsigned> numbers;
};

/// Reads one list ("0,2-3") for each worker, separated by ';'. The manager of this node has made
/// it.
Result<std::vector<Cores>> read_cores(std::string_view lists);

/// Binds the calling thread, or says once that it is not bound.
void pin_this_thread(const Cores& cores);

}  // namespace sublet::executor
