#include <transport/setup.hpp>

#include <algorithm>

namespace sublet::transport {

std::chrono::milliseconds left_until(std::chrono::steady_clock::time_point end) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

}  // namespace sublet::transport
