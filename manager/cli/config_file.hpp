#pragma once

#include <cli/options.hpp>
#include <sublet/result.hpp>

#include <functional>
#include <string>
#include <vector>

namespace sublet::cli {

/// What is wrong with a configuration file.
struct ConfigProblem {
  unsigned line = 0;  ///< From 1 on; 0: of the file, or of all of a section.
  std::string text;   ///< What was found, and what to write.
};

/// A configuration file, read line by line as daemons and applications read it, but to the end.
struct ConfigFile {
  struct Entry {
    unsigned line = 0;
    std::string section;  ///< Empty: before the first one.
    std::string key;
    std::string value;
  };
  std::string path;
  bool has_sections = false;
  std::vector<Entry> entries;
  std::vector<ConfigProblem> problems;  ///< Lines that are neither of the three kinds.

  /// kInvalid: it cannot be read, or has more than 1 MiB.
  static Result<ConfigFile> read(const std::string& path);
};

/// A section of the managers' file: the options of its daemon, and what is wrong with their values
/// beyond each value's own form.
struct ConfigSection {
  CommandLine line;
  std::function<std::vector<std::string>(const boost::program_options::variables_map&)> problems;
};

/// What managers would refuse of the file.
[[nodiscard]] std::vector<ConfigProblem> check_managers_file(
    const ConfigFile& file, const std::vector<ConfigSection>& sections);

/// What applications would refuse of the file (SUBLET_CONFIG).
[[nodiscard]] std::vector<ConfigProblem> check_sessions_file(const ConfigFile& file);

/// The word of `words` that `word` was probably meant to be; empty: none is near.
[[nodiscard]] std::string nearest_word(const std::string& word,
                                       const std::vector<std::string>& words);

}  // namespace sublet::cli
