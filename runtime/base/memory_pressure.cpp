#include <base/memory_pressure.hpp>

#include <cstdlib>
#include <fstream>
#include <string>

namespace sublet::base {
namespace {

constexpr double kMostPressure = 10;  ///< Percent of time in which some process waits for memory.
constexpr double kLeastAvailable = 0.05;

}  // namespace

bool memory_is_short() {
  std::ifstream pressure("/proc/pressure/memory");
  std::string word;
  if (pressure >> word >> word && word.starts_with("avg10=") &&
      std::strtod(word.c_str() + 6, nullptr) > kMostPressure) {
    return true;
  }
  std::ifstream memory("/proc/meminfo");
  double total = 0;
  double available = -1;
  for (double value = 0; memory >> word >> value; memory.ignore(64, '\n')) {
    if (word == "MemTotal:") total = value;
    if (word == "MemAvailable:") {
      available = value;
      break;
    }
  }
  return available >= 0 && available < kLeastAvailable * total;
}

}  // namespace sublet::base
