#include <cli/options.hpp>
#include <wire/limits.hpp>

#include <boost/program_options.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>

extern char** environ;

namespace sublet::cli {
namespace {

namespace po = boost::program_options;

constexpr const char* kConfigVariable = "SUBLET_MANAGER_CONFIG";

/// Sections of the configuration file: each reader skips the others', and nobody skips a mistyped
/// one.
constexpr std::array kSections = {"resource-manager", "executor-manager"};

/// The file to read, and whether somebody has named it: then it must be there.
std::pair<std::string, bool> config_path(const po::variables_map& values) {
  if (values.count("config") != 0) return {values["config"].as<std::string>(), true};
  if (const char* path = std::getenv(kConfigVariable); path != nullptr && *path != '\0') {
    return {path, true};
  }
  std::string own;
  if (const char* base = std::getenv("XDG_CONFIG_HOME"); base != nullptr && *base != '\0') {
    own = std::string(base) + "/sublet/manager.conf";
  } else if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    own = std::string(home) + "/.config/sublet/manager.conf";
  }
  if (!own.empty() && std::ifstream(own)) return {own, false};
  return {"/etc/sublet/manager.conf", false};
}

/// A value for an option, as if it had been a flag. Lists are separated by commas.
void add_value(po::parsed_options& parsed, const std::string& name, const std::string& value,
               bool is_list) {
  po::option option;
  option.string_key = name;
  if (is_list) {
    for (std::size_t begin = 0; begin <= value.size();) {
      const std::size_t end = std::min(value.find(',', begin), value.size());
      const std::size_t first = value.find_first_not_of(' ', begin);
      if (first < end) {
        const std::size_t last = value.find_last_not_of(' ', end - 1);
        option.value.push_back(value.substr(first, last + 1 - first));
      }
      begin = end + 1;
    }
  } else {
    option.value.push_back(value);
  }
  parsed.options.push_back(std::move(option));
}

bool is_list(const CommandLine& line, const std::string& name) {
  return std::find(line.lists.begin(), line.lists.end(), name) != line.lists.end();
}

std::string variable_prefix(const std::string& command) {
  std::string prefix = "SUBLET_";
  for (const char c : command) {
    prefix += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return prefix + "_";
}

std::string option_of_variable(const std::string& rest) {
  std::string name;
  for (const char c : rest) {
    name += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return name;
}

Result<po::parsed_options> from_environment(const CommandLine& line) {
  po::parsed_options parsed(&line.options);
  for (const auto& [variable, option] : line.aliases) {
    const char* value = std::getenv(variable.c_str());
    if (value != nullptr && *value != '\0') {
      add_value(parsed, option, value, is_list(line, option));
    }
  }
  if (!line.configurable && !line.reads_environment) return parsed;
  const std::string prefix = variable_prefix(line.name);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::size_t equals = text.find('=');
    if (!text.starts_with(prefix) || equals == std::string::npos) continue;
    const std::string name = option_of_variable(text.substr(prefix.size(), equals - prefix.size()));
    if (line.options.find_nothrow(name, false) == nullptr) {
      return fail(ErrorKind::kInvalid, "the environment sets " + text.substr(0, equals) + ", but " +
                                           line.name + " has no option --" + name);
    }
    add_value(parsed, name, text.substr(equals + 1), is_list(line, name));
  }
  return parsed;
}

/// Why the file's key `key` (with its section) is nobody's; empty when it is somebody's.
std::string wrong_section(const CommandLine& line, const std::string& key) {
  const std::size_t dot = key.find('.');
  std::string sections = "[" + line.name + "]";
  for (const char* known : kSections) {
    if (known == line.name) continue;
    if (key.substr(0, dot) == known) return {};
    sections += ", [" + std::string(known) + "]";
  }
  if (dot == std::string::npos) {
    return "sets '" + key + "' before the first section; sections are " + sections;
  }
  if (key.substr(0, dot) == line.name) return {};
  return "has a section [" + key.substr(0, dot) + "], which no command reads; sections are " +
         sections;
}

/// The keys of the section [line.name].
Result<po::parsed_options> from_file(const CommandLine& line, const std::string& path,
                                     bool must_exist) {
  po::parsed_options parsed(&line.options);
  std::error_code ignored;
  std::ifstream file(path);
  const bool directory = std::filesystem::is_directory(path, ignored);
  if (!file || directory) {
    if (!must_exist && !directory) return parsed;
    return fail(ErrorKind::kInvalid, "configuration file '" + path + "' cannot be read: " +
                                         (directory ? "it is a directory" : std::strerror(errno)));
  }
  try {
    const po::options_description nothing;
    for (const po::option& entry : po::parse_config_file(file, nothing, true).options) {
      if (const auto wrong = wrong_section(line, entry.string_key); !wrong.empty()) {
        return fail(ErrorKind::kInvalid, "configuration file '" + path + "' " + wrong);
      }
      if (!entry.string_key.starts_with(line.name + ".")) continue;
      const std::string name = entry.string_key.substr(line.name.size() + 1);
      if (line.options.find_nothrow(name, false) == nullptr || name == "config") {
        return fail(ErrorKind::kInvalid, "configuration file '" + path + "' sets '" + name +
                                             "' in section [" + line.name +
                                             "], which is no option of it");
      }
      add_value(parsed, name, entry.value.front(), is_list(line, name));
    }
  } catch (const po::error& error) {
    return fail(ErrorKind::kInvalid, "configuration file '" + path + "': " + error.what());
  }
  return parsed;
}

/// Boost takes "-1" for the largest number there is, and says of neither what was wrong with it.
Result<void> check_numbers(const CommandLine& line, const po::parsed_options& parsed) {
  for (const po::option& option : parsed.options) {
    const auto* known = line.options.find_nothrow(option.string_key, false);
    if (known == nullptr ||
        dynamic_cast<const po::typed_value<std::uint32_t>*>(known->semantic().get()) == nullptr) {
      continue;
    }
    for (const std::string& text : option.value) {
      std::uint32_t number = 0;
      const char* const end = text.data() + text.size();
      const auto [rest, error] = std::from_chars(text.data(), end, number);
      if (error == std::errc() && rest == end) continue;
      return fail(ErrorKind::kInvalid, "--" + known->long_name() + " is '" + text +
                                           "'; it must be a whole number from 0 to 4294967295");
    }
  }
  return {};
}

Result<void> add_source(const CommandLine& line, const po::parsed_options& parsed,
                        po::variables_map& values, const std::string& source) {
  if (auto ok = check_numbers(line, parsed); !ok) {
    return fail(ErrorKind::kInvalid, std::string(ok.error().what()) + " (in " + source + ")");
  }
  try {
    po::store(parsed, values);
    return {};
  } catch (const po::error& error) {
    return fail(ErrorKind::kInvalid, std::string(error.what()) + " (in " + source + ")");
  }
}

std::string usage(const CommandLine& line) {
  return "sublet " + line.name + " " + line.arguments;
}

/// Words without a flag, where there may be none or no more.
Result<void> check_positional(const CommandLine& line, const po::parsed_options& parsed) {
  const auto* option =
      line.positional.empty() ? nullptr : line.options.find_nothrow(line.positional, false);
  const bool many =
      option != nullptr && dynamic_cast<const po::typed_value<std::vector<std::string>>*>(
                               option->semantic().get()) != nullptr;
  int allowed = option == nullptr ? 0 : 1;
  for (const po::option& word : parsed.options) {
    if (word.position_key < 0 || many || allowed-- > 0) continue;
    return fail(ErrorKind::kInvalid, "what is '" + word.value.front() + "'? usage: " + usage(line));
  }
  return {};
}

Result<po::parsed_options> from_flags(const CommandLine& line,
                                      const std::vector<std::string>& words) {
  po::positional_options_description positional;
  positional.add(line.positional.empty() ? "word" : line.positional.c_str(), -1);
  using Style = po::command_line_style::style_t;
  constexpr int kStyle = Style::allow_long | Style::long_allow_adjacent | Style::long_allow_next |
                         Style::allow_short | Style::allow_dash_for_short |
                         Style::short_allow_next | Style::short_allow_adjacent;
  try {
    auto parsed = po::command_line_parser(words)
                      .options(line.options)
                      .positional(positional)
                      .style(kStyle)
                      .run();
    if (auto ok = check_positional(line, parsed); !ok) return tl::unexpected<Error>(ok.error());
    return parsed;
  } catch (const po::error& error) {
    return fail(ErrorKind::kInvalid,
                std::string(error.what()) + "; see `sublet " + line.name + " --help`");
  }
}

}  // namespace

Result<po::variables_map> parse_options(const CommandLine& line,
                                        const std::vector<std::string>& words) {
  po::variables_map values;
  if (std::find(words.begin(), words.end(), "--help") != words.end()) {
    values.emplace("help", po::variable_value());
    return values;
  }
  // The first source that sets an option wins, so the strongest comes first.
  const auto flags = from_flags(line, words);
  if (!flags) return tl::unexpected<Error>(flags.error());
  if (auto ok = add_source(line, *flags, values, "the command line"); !ok) {
    return tl::unexpected<Error>(ok.error());
  }
  const auto environment = from_environment(line);
  if (!environment) return tl::unexpected<Error>(environment.error());
  if (auto ok = add_source(line, *environment, values, "the environment"); !ok) {
    return tl::unexpected<Error>(ok.error());
  }
  if (line.configurable) {
    const auto [path, named] = config_path(values);
    const auto file = from_file(line, path, named);
    if (!file) return tl::unexpected<Error>(file.error());
    if (auto ok = add_source(line, *file, values, "'" + path + "'"); !ok) {
      return tl::unexpected<Error>(ok.error());
    }
  }
  try {
    po::notify(values);
  } catch (const po::required_option& missing) {
    if (missing.get_option_name() != "--" + line.positional) {
      return fail(ErrorKind::kInvalid, missing.what());
    }
    std::string name = line.positional;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return fail(ErrorKind::kInvalid, name + " is missing (" +
                                         line.options.find(line.positional, false).description() +
                                         "); usage: " + usage(line));
  } catch (const po::error& error) {
    return fail(ErrorKind::kInvalid, error.what());
  }
  return values;
}

Result<po::variables_map> section_values(
    const CommandLine& line, const std::vector<std::pair<std::string, std::string>>& section) {
  po::variables_map values;
  po::parsed_options parsed(&line.options);
  for (const auto& [name, value] : section) {
    const auto choices = line.choices.find(name);
    if (choices != line.choices.end() &&
        std::find(choices->second.begin(), choices->second.end(), value) == choices->second.end()) {
      std::string allowed;
      for (const std::string& each : choices->second) {
        allowed += (allowed.empty() ? "" : " or ") + each;
      }
      return fail(ErrorKind::kInvalid, "'" + name + "' is '" + value + "'; it must be " + allowed);
    }
    add_value(parsed, name, value, is_list(line, name));
  }
  if (auto ok = check_numbers(line, parsed); !ok) return tl::unexpected<Error>(ok.error());
  try {
    po::store(parsed, values);
    po::notify(values);
  } catch (const po::error& error) {
    return fail(ErrorKind::kInvalid, error.what());
  }
  return values;
}

void print_help(const CommandLine& line) {
  std::cout << "usage: " << usage(line) << "\n\n" << line.about << "\n\n" << line.options;
  if (line.configurable) {
    std::cout << "\nEach option can also be set in the section [" << line.name
              << "] of a configuration file\n(--config, $" << kConfigVariable
              << ", ~/.config/sublet/manager.conf or /etc/sublet/manager.conf)\nand by the "
                 "environment variable "
              << variable_prefix(line.name) << "OPTION. Flags win over the environment,\n"
              << "the environment over the file.\n";
  }
  for (const auto& [variable, option] : line.aliases) {
    std::cout << "$" << variable << " sets --" << option << ".\n";
  }
}

Result<std::chrono::milliseconds> parse_duration(const std::string& text,
                                                 std::chrono::milliseconds most) {
  static const std::map<std::string, double> kUnits = {
      {"ms", 1},       {"s", 1000},      {"", 1000},       {"m", 60'000},
      {"min", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  const auto unit = kUnits.find(std::string(rest, end));
  if (error != std::errc() || rest == text.data() || unit == kUnits.end() ||
      !(number >= 0 && number * unit->second <= static_cast<double>(most.count()))) {
    const auto hours = std::chrono::duration_cast<std::chrono::hours>(most);
    return fail(ErrorKind::kInvalid, "'" + text + "' is no time from 0 to " +
                                         std::to_string(hours.count()) +
                                         "h; write for instance 500ms, 30s or 5min");
  }
  return std::chrono::milliseconds(static_cast<std::int64_t>(number * unit->second));
}

Result<std::vector<std::uint32_t>> parse_numbers(const std::string& option, const std::string& text,
                                                 std::uint32_t most) {
  std::vector<std::uint32_t> numbers;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string word = text.substr(at, end - at);
    const bool digits = !word.empty() && word.size() < 6 &&
                        word.find_first_not_of("0123456789") == std::string::npos;
    const std::uint32_t number = digits ? static_cast<std::uint32_t>(std::stoul(word)) : 0;
    if (number == 0 || number > most) {
      return fail(ErrorKind::kInvalid, "--" + option + " is '" + text +
                                           "'; it must be numbers from 1 to " +
                                           std::to_string(most) + " with commas between");
    }
    numbers.push_back(number);
    at = end + 1;
  }
  return numbers;
}

Result<std::optional<std::uint64_t>> parse_amount(const std::string& option,
                                                  const std::string& text) {
  if (text == "none") return std::optional<std::uint64_t>();
  std::uint64_t amount = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, amount);
  // Databases count in 63 bits.
  if (error == std::errc() && rest == end && amount >> 62 == 0) return std::optional(amount);
  return fail(ErrorKind::kInvalid,
              "--" + option + " is '" + text + "'; it must be a whole number from 0 on, or none");
}

Result<std::uint64_t> parse_size(const std::string& text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  std::string unit(rest, end);
  if (unit.ends_with("iB")) {
    unit.resize(unit.size() - 2);
  } else if (unit.ends_with('B')) {
    unit.pop_back();
  }
  const std::string units = "KMGT";
  const std::size_t power = unit.empty() ? 0 : units.find(unit) + 1;
  const bool known = unit.empty() || (unit.size() == 1 && power > 0);
  const double bytes = number * std::pow(1024.0, static_cast<double>(power));
  if (error != std::errc() || rest == text.data() || !known || !(number >= 0 && bytes < 0x1p63)) {
    return fail(
        ErrorKind::kInvalid,
        "'" + text + "' is no size; write for instance 512MiB, 1.5GiB or a number of bytes");
  }
  return static_cast<std::uint64_t>(bytes);
}

}  // namespace sublet::cli
