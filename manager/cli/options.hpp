#pragma once

#include <sublet/result.hpp>
#include <wire/limits.hpp>

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sublet::cli {

/// How one command is called. Values come from its defaults, then the section [NAME] of the
/// configuration file, then the environment, then the flags; the later wins.
struct CommandLine {
  std::string name;       ///< "executor-manager"
  std::string arguments;  ///< For the usage line, "[OPTIONS]".
  std::string about;      ///< Some sentences for --help.
  boost::program_options::options_description options;
  /// Options of type vector<string>; in a file or variable their values are separated by commas.
  std::vector<std::string> lists;
  /// Name of the option that takes the word without a flag, or several when it is a list; empty:
  /// none may be there. In `arguments` it stands in capitals.
  std::string positional;
  /// Of options and of the positional one: the values that may be given, where these are few.
  std::map<std::string, std::vector<std::string>> choices;
  /// Options that a daemon reads again on SIGHUP; the others hold until it is started again.
  std::vector<std::string> reloadable;
  bool logs_info = false;  ///< Tells what it does, not only what goes wrong.
  /// Daemons read the file and SUBLET_<NAME>_<OPTION>; other commands only flags and `aliases`.
  bool configurable = false;
  /// Reads SUBLET_<NAME>_<OPTION>, and no file.
  bool reads_environment = false;
  /// Environment variables with names of their own, and the options they set.
  std::vector<std::pair<std::string, std::string>> aliases;
};

/// kInvalid names the option and where it was set. With --help in `words` the map holds "help" and
/// nothing else has been checked.
Result<boost::program_options::variables_map> parse_options(const CommandLine& line,
                                                            const std::vector<std::string>& words);

void print_help(const CommandLine& line);

/// What a configuration file's section makes of the options, over the defaults: keys and values, as
/// they stand in it. kInvalid names the first that is wrong.
Result<boost::program_options::variables_map> section_values(
    const CommandLine& line, const std::vector<std::pair<std::string, std::string>>& section);

/// "1,64": numbers from 1 to `most`, which has five digits at most. kInvalid names the option.
Result<std::vector<std::uint32_t>> parse_numbers(const std::string& option, const std::string& text,
                                                 std::uint32_t most);

/// "4096", "512MiB", "1.5G": bytes; units are powers of 1024.
Result<std::uint64_t> parse_size(const std::string& text);

/// "500ms", "30s", "5min", "1h", "7d", or seconds without a unit; at most `most`.
Result<std::chrono::milliseconds> parse_duration(const std::string& text,
                                                 std::chrono::milliseconds most = wire::kDrainMax);

/// "64", or "none" for as much as there is. kInvalid names the option.
Result<std::optional<std::uint64_t>> parse_amount(const std::string& option,
                                                  const std::string& text);

}  // namespace sublet::cli
