#pragma once

// What gpu_view_functions tells gpus_test.cpp.

#include <array>

namespace sublet::test {

/// Variables as a function finds them, ended by a zero; "-": it is not set.
struct GpuView {
  std::array<char, 512> cuda;
  std::array<char, 512> rocr;
};

}  // namespace sublet::test
