#include "target.hpp"

namespace sublet::fuzz {

std::vector<Target>& targets() {
  static std::vector<Target> all;
  return all;
}

}  // namespace sublet::fuzz
