#include <base/children.hpp>

#include <unistd.h>

#include <fstream>
#include <string>

namespace sublet::base {

std::vector<pid_t> children() {
  const std::string pid = std::to_string(::getpid());
  std::ifstream file("/proc/" + pid + "/task/" + pid + "/children");
  std::vector<pid_t> found;
  for (pid_t child; file >> child;) found.push_back(child);
  return found;
}

}  // namespace sublet::base
