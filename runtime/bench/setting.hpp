#pragma once

#include "cpus.hpp"
#include <transport/kind.hpp>

#include <string>

namespace sublet::bench {

/// Where and over what a benchmark was run: the head of its report.
struct Setting {
  CpuPair cpus;
  transport::Kind transport = transport::Kind::kShm;
  std::string manager;  ///< Empty: it needed none.
};

}  // namespace sublet::bench
