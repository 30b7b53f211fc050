#pragma once

#include <boost/program_options/options_description.hpp>

#include <string>
#include <vector>

namespace sublet::bench {

/// A word after `sublet bench`, for help, manual pages and completion.
struct Benchmark {
  std::string name;
  std::string summary;  ///< One line.
  boost::program_options::options_description options;
};

/// All of this library's, in the order of `sublet bench --help`.
[[nodiscard]] std::vector<Benchmark> benchmarks();

}  // namespace sublet::bench
