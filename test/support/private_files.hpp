#pragma once

#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace sublet::test {

/// What private managers keep below the run-time directory `directory`, without the file in which
/// those of one user share the cores: that stays.
inline std::vector<std::string> private_files(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory + "/sublet", ignored)) {
    std::string name = entry.path().filename().string();
    if (name != "cores.lock") names.push_back(std::move(name));
  }
  return names;
}

}  // namespace sublet::test
