#pragma once

#include <cstdint>

namespace sublet::manager::web {

/// What the kernel says of this process; 0 where it does not.
struct ProcessNumbers {
  double cpu_s = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t open_descriptors = 0;
  std::uint64_t descriptor_limit = 0;

  static ProcessNumbers read();
};

}  // namespace sublet::manager::web
