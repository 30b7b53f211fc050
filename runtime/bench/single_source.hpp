#pragma once

#include "options.hpp"
#include "progress.hpp"
#include "setting.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace sublet::bench {

struct SingleSourceRow {
  std::string form;      ///< lambda, open or cold.
  std::string baseline;  ///< library or fork_exec.
  double p50_us = 0;
  double baseline_p50_us = 0;
  double ratio = 0;  ///< Median over pairs.
  std::size_t pairs = 0;
};

struct SingleSourceReport : Setting {
  std::vector<SingleSourceRow> rows;
};

/// Becomes the program that measures, which has functions of its own; these words are its options.
/// Returns only why not.
Error run_single_source(const std::vector<std::string>& words);

}  // namespace sublet::bench
