#pragma once

// PROTOCOL  What an application's program has around it in the client, as text: one line for each
//           shared object that it has loaded at its start ("object NAME BUILD-ID", the last may be
//           missing), and one for each directory that they were found in ("directory PATH").
// LIMITS    kMaxSurroundings; a line of the text that is neither is left out.

#include <base/shared_objects.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace sublet::wire {

/// The environment variable of a process that is to be an executor, until it is one: the number of
/// the descriptor with its order (executor/become.hpp).
inline constexpr const char* kOrderVariable = "SUBLET_EXECUTOR_ORDER";

struct ApplicationSurroundings {
  std::vector<base::SharedObject> objects;  ///< `path` is the name alone once it has travelled.
  std::vector<std::string> directories;

  [[nodiscard]] std::string to_text() const {
    std::string text;
    for (const auto& object : objects) {
      text += "object " + object.name() + " " + object.build_id + "\n";
    }
    for (const auto& directory : directories) text += "directory " + directory + "\n";
    return text;
  }

  static ApplicationSurroundings from_text(std::string_view text) {
    constexpr std::string_view kObject = "object ";
    constexpr std::string_view kDirectory = "directory ";
    ApplicationSurroundings found;
    while (!text.empty()) {
      std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      if (line.starts_with(kObject)) {
        line.remove_prefix(kObject.size());
        const auto end = std::min(line.rfind(' '), line.size());
        found.objects.push_back({std::string(line.substr(0, end)),
                                 std::string(line.substr(std::min(line.size(), end + 1)))});
      } else if (line.starts_with(kDirectory)) {
        found.directories.emplace_back(line.substr(kDirectory.size()));
      }
    }
    return found;
  }
};

}  // namespace sublet::wire
