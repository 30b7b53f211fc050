#pragma once

#include "cpus.hpp"
#include <transport/any/kind.hpp>

#include <string>

namespace sublet::bench {

/// Where and over what a benchmark was run: the head of its report.
struct Setting {
  CpuPair cpus;
  transport::Kind transport = transport::same_node_kind();
  std::string manager;  ///< Empty: it needed none.
};

}  // namespace sublet::bench
