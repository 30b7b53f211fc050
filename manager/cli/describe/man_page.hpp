#pragma once

#include <cli/command.hpp>

#include <string>
#include <vector>

namespace sublet::cli {

struct ManualPage {
  std::string name;  ///< "sublet-nodes"
  int section = 1;
  std::string text;  ///< For man(1), in the macros of man(7).
  /// "sublet-nodes.1"
  [[nodiscard]] std::string file() const { return name + "." + std::to_string(section); }
};

/// One of each command that people call, one of `sublet`, and one of each configuration file.
[[nodiscard]] std::vector<ManualPage> manual_pages();

}  // namespace sublet::cli
