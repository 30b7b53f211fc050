#include <base/descriptor_limit.hpp>

#include <sys/resource.h>
#include <unistd.h>
#include <web/process_numbers.hpp>

#include <fstream>

namespace sublet::manager::web {

ProcessNumbers ProcessNumbers::read() {
  ProcessNumbers numbers;
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    numbers.cpu_s = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  std::ifstream file("/proc/self/statm");
  std::uint64_t all = 0;
  std::uint64_t resident = 0;
  if (file >> all >> resident) {
    numbers.resident_bytes = resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  }
  numbers.open_descriptors = base::open_descriptors();
  numbers.descriptor_limit = base::descriptor_limit();
  return numbers;
}

}  // namespace sublet::manager::web
