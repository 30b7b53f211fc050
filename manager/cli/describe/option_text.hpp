#pragma once

#include <cli/options.hpp>

#include <string>
#include <vector>

namespace sublet::cli {

/// An option of a command line, as people read it: one description for help, manual pages and
/// completion.
struct OptionText {
  std::string name;  ///< "output".
  bool takes_value = false;
  bool repeats = false;  ///< May be given several times.
  std::string value;     ///< "VALUE", "N", "FILE"; empty for a switch.
  std::string fallback;  ///< Its default, where it has one that says something.
  std::string about;
  std::vector<std::string> choices;  ///< Empty: not few.
};

/// All but the positional one, then --help.
[[nodiscard]] std::vector<OptionText> option_texts(const CommandLine& line);

/// The values of the first word without a flag; empty where these are not few.
[[nodiscard]] std::vector<std::string> word_choices(const CommandLine& line);

/// "`sublet nodes` lists" without the backquotes.
[[nodiscard]] std::string without_backquotes(const std::string& text);

}  // namespace sublet::cli
