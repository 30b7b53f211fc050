#include "single_source.hpp"

#include "companion.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sublet::bench {

Error run_single_source(const std::vector<std::string>& words) {
  auto program = find_companion("sublet-bench-single-source");
  if (!program) return program.error();
  std::vector<std::string> texts{*program};
  texts.insert(texts.end(), words.begin(), words.end());
  std::vector<char*> argv;
  argv.reserve(texts.size() + 1);
  for (std::string& text : texts) argv.push_back(text.data());
  argv.push_back(nullptr);
  ::execv(program->c_str(), argv.data());
  return Error(ErrorKind::kInternal, "running '" + *program + "': " + std::strerror(errno), errno);
}

}  // namespace sublet::bench
